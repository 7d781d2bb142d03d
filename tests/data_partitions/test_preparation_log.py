from data_partitions.preparation_log import PreparationLog


def test_amounts_are_added_and_names_may_have_braces():
    log = PreparationLog()
    for amount in (1, 2.5, 0):
        log.count('{} windows are "{}" or {x}.', amount)
    log.count("{} recordings have no complete window.", 0)
    assert log.counted() == ['4 windows are "{}" or {x}.']


def test_one_is_singular():
    log = PreparationLog()
    for sentence in (
        "{} recordings have no complete window.",
        "{} recordings of less than 48 h are left out.",
        "{} recordings: resampled",
        "{} s at the end of recordings are left out.",
    ):
        log.count(sentence)
    assert log.counted() == [
        "1 recording has no complete window.",
        "1 recording of less than 48 h is left out.",
        "1 recording: resampled",
        "1 s at the end of recordings are left out.",
    ]
