"""One module per data set, each with the same three functions.

- `schema(source, **options) -> dict`: what the data set is, as keyword arguments of `Manifest`
  (everything but `site`, `windows` and `made_by`; all modalities present).
- `index(source, *, notes=None, **options) -> DataFrame`: one row per window with `record_id`,
  `patient_id`, `split`, `site` (text, "" where not recorded), one 0/1 column per label, and whatever
  `read` needs to find the signal. What is left out is said in sentences appended to `notes`.
- `read(source, row) -> float32 (modality, patch, sample)`: the values of one row of the index in the
  source's units, NaN where nothing was measured.
"""
