"""One module per data set, each with the same three functions.

- `schema(source, **options) -> dict`: what the data set is, as keyword arguments of `Manifest`
  (everything but `site`, `windows` and `made_by`; all modalities present).
- `index(source, report, **options) -> DataFrame`: one row per window with `record_id`, `patient_id`,
  `split`, `site` (the name of the hospital or unit, "" where none is recorded), one 0/1 column per label,
  and whatever `read` needs to find the signal.
- `read(source, rows, report, **options) -> Iterator`: for each of `rows`, which come from the index in
  any order, its values as float32 (modality, patch, sample) in the source's units, NaN where nothing was
  measured; or None when it cannot be used, which `report.reject` has then been told. Called once for
  all rows, so that it may go through a large file once.

All raise DataError for what makes the data set as a whole unusable (a missing table or column), and hand
what is wrong with a single record to `report.reject`. Where the data set is open a fourth function,
`download(out, report, **options)`, fetches it.
"""
