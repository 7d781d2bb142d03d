import numpy as np
import pytest

from data_partitions.errors import DataError
from data_partitions.signals.signal_map import SignalMap
from data_partitions.signals.signal_spec import SignalSpec
from tests.helpers.arrays_as_recordings import ArrayRecording

SECONDS = np.zeros(1000)
LEADS = (SignalSpec("I", "mV", 100, ("I", "ch1")), SignalSpec("II", "mV", 100, ("II", ("LL", "-", "RA"))))
LABS = (SignalSpec("Creatinine", "mg/dL", 1 / 3600, within="last"),)


def channel(name, unit="mV", rate=100, samples=SECONDS):
    return name, unit, rate, samples


@pytest.mark.parametrize("name", ["I", " i ", "ch1", "CH1"])
def test_names_match_exactly_or_by_alias(name):
    match = SignalMap(LEADS).match(ArrayRecording(channel(name)))
    assert match.modalities == ("I",)
    assert match.absent == ("II",)
    assert match.notes == ()


def test_a_name_that_begins_alike_is_another_channel():
    recording = ArrayRecording(channel("Creatinine urine", "mg/dL", 1 / 3600), file="stay.csv")
    with pytest.raises(DataError, match="has no channel that the model knows"):
        SignalMap(LABS).match(recording)


def test_the_first_alias_that_a_file_has_counts():
    recording = ArrayRecording(channel("ch1"), channel("I"), channel("RA"), channel("LL"), channel("II"))
    match = SignalMap(LEADS).match(recording)
    assert [source.channels for source in match.sources.values()] == [(1,), (4,)]
    assert match.unknown == ("ch1", "RA", "LL")


def test_letters_of_another_case_count_when_no_name_is_equal():
    specs = (SignalSpec("ii", "mV", 100), SignalSpec("II", "mV", 100))
    match = SignalMap(specs).match(ArrayRecording(channel("II"), channel("ii")))
    assert [source.channels for source in match.sources.values()] == [(1,), (0,)]


def test_one_channel_is_not_read_as_two_modalities():
    specs = (SignalSpec("I", "mV", 100, ("ECG",)), SignalSpec("II", "mV", 100, ("II", "ECG")))
    with pytest.raises(DataError, match="I and II would both be read from ECG"):
        SignalMap(specs).match(ArrayRecording(channel("ECG")))


def test_channels_that_the_model_does_not_know_are_named():
    recording = ArrayRecording(channel("I"), channel("LI"), channel("L L"))
    assert SignalMap(LEADS).match(recording).unknown == ("LI", "L L")


def test_a_file_without_a_known_channel_is_refused_with_the_nearest_name():
    with pytest.raises(DataError, match="no channel that the model knows") as error:
        SignalMap(LEADS).match(ArrayRecording(channel("Q"), channel("Ch 1"), channel("L L")))
    assert str(error.value) == (
        "night.edf has no channel that the model knows (it has Q, Ch 1, L L, known are I, II): "
        'if "Ch 1" is I, give it as one of its channels'
    )


def test_messages_are_short_however_many_channels_a_file_has():
    recording = ArrayRecording(*(channel(f"channel {i}") for i in range(500)))
    with pytest.raises(DataError, match="and 492 more") as error:
        SignalMap(LEADS).match(recording)
    assert len(str(error.value)) < 400


def test_of_two_channels_of_one_name_and_kind_the_first_is_read():
    recording = ArrayRecording(channel("I", samples=SECONDS + 1), channel("I", samples=SECONDS + 2))
    match = SignalMap(LEADS).match(recording)
    assert match.read("I", 0, 1).tolist() == [1] * 100
    assert match.notes == ("I: the first of 2 channels of the name I",)


def test_two_channels_of_one_name_and_different_kinds_are_refused_if_needed():
    doubled = (channel("ECG", "mV"), channel("ECG", "uV"))
    assert SignalMap(LEADS).match(ArrayRecording(channel("I"), *doubled)).absent == ("II",)
    specs = (*LEADS, SignalSpec("V1", "mV", 100, ("ECG",)))
    with pytest.raises(DataError, match="2 channels of the name ECG, with different units or rates"):
        SignalMap(specs).match(ArrayRecording(channel("I"), *doubled))


def test_a_channel_without_samples_is_absent():
    match = SignalMap(LEADS).match(ArrayRecording(channel("I"), channel("II", samples=SECONDS[:0])))
    assert match.absent == ("II",)


def test_units_are_converted_and_noted_once():
    recording = ArrayRecording(
        channel("I", "uV", samples=SECONDS + 1500), channel("II", "uV", samples=SECONDS - 500)
    )
    match = SignalMap(LEADS).match(recording)
    assert match.read("I", 0, 1)[0] == 1.5
    assert match.notes == ("I, II: converted from uV to mV",)


@pytest.mark.parametrize(
    ("unit", "file", "message"),
    [
        ("mmHg", "ecg.edf", r'ecg.edf: I: "mmHg" cannot be converted to "mV"'),
        ("", "ecg.edf", 'I has no unit, but the model expects mV: if it is in mV, give file-unit = "mV"'),
        ("a.u.", "ecg.hea", 'I has the unit "a.u.", but the model expects mV'),
    ],
)
def test_units_that_are_not_understood_are_refused(unit, file, message):
    with pytest.raises(DataError, match=message):
        SignalMap(LEADS).match(ArrayRecording(channel("I", unit), file=file))


@pytest.mark.parametrize("file", ["ecg.csv", "ecg.csv.gz", "ecg.npz"])
def test_formats_without_units_are_taken_as_in_the_models_unit_and_noted(file):
    match = SignalMap(LEADS).match(ArrayRecording(channel("I", ""), file=file))
    assert match.notes == ("I: taken as in the unit of the model, because the file states none",)


def test_the_description_can_say_the_unit_and_the_scale_of_a_file():
    specs = (SignalSpec("Glucose", "mmol/L", 1, scale=0.0555, file_unit="mmol/L"),)
    match = SignalMap(specs).match(ArrayRecording(channel("Glucose", "mg/dL", 1, SECONDS + 100)))
    assert match.read("Glucose", 0, 1)[0] == pytest.approx(5.55)
    assert match.notes == (
        'Glucose: in "mmol/L" by the description, not "mg/dL"',
        "Glucose: multiplied by 0.0555",
    )
    (piece,) = match.to_file("Glucose", np.array([5.55]), 0)
    assert piece.samples[0] == pytest.approx(100)


def test_a_model_of_an_arbitrary_unit_takes_values_as_they_are():
    match = SignalMap((SignalSpec("Resp", "a.u.", 1),)).match(ArrayRecording(channel("Resp", "mV", 1)))
    assert match.notes == ('Resp: taken as they are, in "mV", because the unit of the model is arbitrary',)


def test_other_rates_need_consent_unless_they_are_nearly_nominal():
    with pytest.raises(DataError, match="I is at 128 Hz, but the model expects 100 Hz"):
        SignalMap(LEADS).match(ArrayRecording(channel("I", rate=128)))
    match = SignalMap(LEADS, allow_other_rates=True).match(ArrayRecording(channel("I", rate=128)))
    assert match.notes == ("I: resampled, from 128 Hz to 100 Hz",)
    assert SignalMap(LEADS).match(ArrayRecording(channel("I", rate=99.95))).notes == (
        "I: resampled, from 99.95 Hz to 100 Hz",
    )


def test_rates_of_tables_are_given_as_times():
    minutes = ArrayRecording(channel("Creatinine", "mg/dL", 1 / 300), file="stay.csv")
    with pytest.raises(DataError, match="is at 1 sample in 300 s, but the model expects 1 sample in 1 h"):
        SignalMap(LABS).match(minutes)


def test_a_difference_needs_channels_of_one_rate():
    with pytest.raises(DataError, match="II is LL - RA, which are at 100 Hz and 50 Hz"):
        SignalMap(LEADS, True).match(ArrayRecording(channel("LL"), channel("RA", rate=50)))


HOURLY = 1 / 3600
TEMPERATURE = SignalSpec(
    "Temp", "degC", HOURLY, ("T1", "T2"), (30, 45), within="last", channel_units=(("T2", "degF"),)
)


def test_channels_of_values_in_steps_are_joined_by_preference_each_in_its_unit():
    celsius, fahrenheit = np.array([37.0, np.nan, 99]), np.array([98.6, 100.4, 95])
    recording = ArrayRecording(
        channel("T1", "", HOURLY, celsius), channel("t2", "", HOURLY, fahrenheit), file="stay.csv"
    )
    match = SignalMap((TEMPERATURE,)).match(recording)
    np.testing.assert_allclose(match.read("Temp", 0, 3 * 3600), [37, 38, 35], rtol=1e-6)
    assert match.unknown == () and match.dropped == {"Temp": 1}
    assert 'Temp: in "degF" by the description, the file states no unit' in match.notes


def test_a_channel_that_two_modalities_prefer_differently_is_refused():
    specs = (TEMPERATURE, SignalSpec("Skin", "degC", HOURLY, ("S", "T2"), within="last"))
    recording = ArrayRecording(*(channel(name, "", HOURLY) for name in ("T1", "T2", "S")), file="stay.csv")
    with pytest.raises(DataError, match="Temp and Skin would both be read from T2"):
        SignalMap(specs).match(recording)


def test_a_name_with_its_unit_is_that_of_a_column_with_both():
    specs = (SignalSpec("HR (bpm)", "bpm", HOURLY, within="last"),)
    recording = ArrayRecording(channel("HR", "bpm", HOURLY, np.array([70.0])), file="stay.csv")
    match = SignalMap(specs).match(recording)
    assert match.unknown == () and match.read("HR (bpm)", 0, 3600).tolist() == [70]
