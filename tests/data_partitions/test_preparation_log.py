from data_partitions.preparation_log import PreparationLog


def test_amounts_are_added_and_names_may_have_braces():
    log = PreparationLog()
    for amount in (1, 2.5, 0):
        log.count('{} windows are "{}" or {x}.', amount)
    log.count("{} recordings have no complete window.", 0)
    assert log.counted() == ['4 windows are "{}" or {x}.']
