from client_app.inference.linked_tables import link_tables


def test_tables_are_linked_below_the_output_and_those_outside_of_the_data_are_not(tmp_path):
    data, out = tmp_path / "site" / "data", tmp_path / "site" / "out" / "completed"
    data.mkdir(parents=True)
    for file in (data / "a.csv", data.parent / "t.csv"):
        file.write_text("record")
    failed = link_tables([data / "a.csv", data / ".." / "t.csv"], data, out)
    assert (out / "a.csv").read_text() == "record" and list(out.iterdir()) == [out / "a.csv"]
    assert not (out.parent / "t.csv").exists()
    assert len(failed) == 1 and f"is not linked in {out}, as it is outside of {data}: copy it" in failed[0]
