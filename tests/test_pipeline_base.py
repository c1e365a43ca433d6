"""What all pipelines share: one bad input among many, names in messages, lazy inputs, details and warnings."""

import itertools
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from datasets import Dataset as HubDataset
from datasets import DatasetDict
from torch.utils.data import Dataset, IterableDataset
from transformers import pipeline

from merit_hf import STANDARD_12, EcgRecord, load_sample
from merit_hf.data import load_corpus
from merit_hf.pipeline_base_merit import noise_share

TASKS = ("ecg-zero-shot-classification", "ecg-feature-extraction", "ecg-classification")


def ecg(seconds=10.0, seed=0, leads=STANDARD_12, rate=500):
    generator = np.random.default_rng(seed)
    return EcgRecord(np.cumsum(generator.normal(size=(len(leads), int(seconds * rate))), axis=1) / 10, rate, leads)


@pytest.fixture(scope="module")
def pipes(tiny_run, finetuned_run):
    defaults = {TASKS[0]: {"candidate_labels": ["normal ECG", "atrial fibrillation"]}}
    folders = dict.fromkeys(TASKS, tiny_run) | {TASKS[2]: finetuned_run[0]}
    return {task: pipeline(task, model=str(folders[task]), device="cpu", **defaults.get(task, {})) for task in TASKS}


@pytest.fixture(params=TASKS)
def pipe(request, pipes):
    return pipes[request.param]


@pytest.fixture
def bad_file(tmp_path):
    path = tmp_path / "bad.csv"
    path.write_text("nothing\n")
    return path


class Stored(Dataset):
    """A map-style Dataset that never raises IndexError, as many have none."""

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        item = self.items[index % len(self.items)]
        if item is None:
            raise ValueError("the file of this item is damaged")
        return item


class Streamed(IterableDataset):
    def __init__(self, items):
        self.items = items

    def __iter__(self):
        return iter(self.items)


def numbers(answer):
    """An answer's numbers, whatever the task."""
    if isinstance(answer[0], dict):
        return [score for _, score in sorted((entry["label"], entry["score"]) for entry in answer)]
    return answer


def assert_same(answers, others):
    np.testing.assert_allclose([numbers(a) for a in answers], [numbers(a) for a in others], atol=1e-5)


# -- one bad input among many


@pytest.mark.parametrize("batch_size", [1, 2, 3, 8])
def test_one_goes_on_past_bad_inputs(pipe, bad_file, batch_size):
    good = [ecg(), ecg(25, seed=1), ecg(4, seed=2)]
    single = [numbers(pipe(record)) for record in good]
    bad = [bad_file, ecg(0.5), 3.5, {"path": str(bad_file)}]
    for order in ("gbgg", "bbggb", "bb"):
        goods, bads = itertools.count(), itertools.count()
        places = [(kind, next(goods) if kind == "g" else next(bads)) for kind in order]
        items = [good[place] if kind == "g" else bad[place] for kind, place in places]
        for inputs in (items, (item for item in items), Stored(items), Streamed(items)):
            answers = list(pipe(inputs, batch_size=batch_size, on_error="return"))
            assert len(answers) == len(items)
            for (kind, place), answer in zip(places, answers, strict=True):
                if kind == "b":
                    assert set(answer) == {"error"}
                    assert "\n" not in answer["error"]
                else:
                    assert numbers(answer) == pytest.approx(single[place], abs=1e-5)


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_an_error_is_raised_in_its_place_and_no_answer_is_lost(pipe, bad_file, batch_size):
    items = [ecg(), str(bad_file), ecg(seed=1), ecg(seed=2)]
    answers = iter(pipe((item for item in items), batch_size=batch_size))
    assert numbers(next(answers)) == pytest.approx(numbers(pipe(items[0])), abs=1e-5)
    with pytest.raises(ValueError, match="bad.csv"):
        next(answers)
    for item in items[2:]:
        assert numbers(next(answers)) == pytest.approx(numbers(pipe(item)), abs=1e-5)
    assert list(answers) == []
    with pytest.raises(ValueError, match="bad.csv"):
        pipe(items, batch_size=batch_size)


def test_an_item_that_a_dataset_cannot_give_is_an_error_in_its_place(pipe):
    answers = list(pipe(Stored([ecg(), None, ecg(seed=1)]), on_error="return", batch_size=2))
    assert answers[1] == {"error": "inputs[1]: the file of this item is damaged"}
    assert "error" not in answers[0]
    assert "error" not in answers[2]


def test_errors_name_the_file_or_the_place_in_the_list(pipe, bad_file):
    short = ecg(0.5)
    flat = EcgRecord(np.ones((12, 5000)), 500, STANDARD_12)
    for inputs, start in (
        ([ecg(), short, ecg()], "inputs[1]: 0.5 s of signal"),
        ([ecg(), ecg(), flat], "inputs[2]: nothing to see"),
        ([ecg().signal, ecg(), 3.5], "inputs[0]: an array needs its sampling rate"),
        (short, "0.5 s of signal"),
    ):
        with pytest.raises(ValueError, match="signal|see|array") as caught:
            pipe(inputs)
        assert str(caught.value).startswith(start)
        assert "ECG 0" not in str(caught.value)
    for inputs in ([ecg(), bad_file], str(bad_file), [{"path": bad_file}]):
        with pytest.raises(ValueError, match="bad.csv") as caught:
            pipe(inputs)
        assert str(caught.value).count("bad.csv") == 1


def test_a_file_with_too_little_signal_is_named(pipe, tmp_path):
    record = ecg(0.7)
    path = tmp_path / "short.npz"
    np.savez(path, signal=record.signal, sampling_rate=500.0, lead_names=record.lead_names, units="mV")
    with pytest.raises(ValueError, match=r"short\.npz: 0\.7 s of signal"):
        pipe([ecg(), path])


# -- inputs of many


def test_a_dataset_ends_where_its_length_says(pipe):
    records = [ecg(seed=seed) for seed in range(3)]
    answers = pipe(Stored(records), batch_size=2)
    assert len(answers) == 3
    assert_same(answers, pipe(records, batch_size=2))

    class Endless(Dataset):
        def __getitem__(self, index):
            return records[0]

    with pytest.raises(ValueError, match="Endless is a torch Dataset without __len__"):
        pipe(Endless())


def test_endless_inputs_are_read_as_answers_are_asked_for(pipe):
    seen = []

    def stream():
        for number in itertools.count():
            seen.append(number)
            yield ecg(seed=number)

    for inputs in (stream(), Streamed(stream())):
        seen.clear()
        answers = pipe(inputs, batch_size=2)
        assert len(list(itertools.islice(answers, 3))) == 3
        assert len(seen) <= 5


def test_a_dataset_of_the_hub_gives_an_answer_a_row(pipe):
    from merit_hf.data.row import row_from_record

    rows = [row_from_record(ecg(seed=seed), ecg_id=str(seed), patient_id="1") for seed in range(3)]
    rows = [{**row, "signal": np.asarray(row["signal"]).reshape(-1).tolist()} for row in rows]
    dataset = HubDataset.from_list(rows)
    expected = pipe(rows)
    assert_same(pipe(dataset, batch_size=2), expected)
    assert_same(pipe(dataset.to_iterable_dataset(), batch_size=2), expected)
    with pytest.raises(ValueError, match=r"\['train'\] splits at once"):
        pipe(DatasetDict(train=dataset))


def test_reading_in_a_process_of_its_own_changes_nothing(pipe, bad_file):
    items = [ecg(), bad_file, ecg(25, seed=1)]
    expected = pipe(items, on_error="return", batch_size=2)
    found = pipe(items, on_error="return", batch_size=2, num_workers=1)
    assert found[1] == expected[1]
    for place in (0, 2):
        assert numbers(found[place]) == pytest.approx(numbers(expected[place]), abs=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"on_error": "skip"}, "on_error='skip' is not known: choose 'raise' or 'return'"),
        ({"on_error": None}, "on_error=None is not known"),
        ({"return_details": "yes"}, "return_details='yes' is not known"),
        ({"batch_size": 0}, "batch_size=0 must be a whole number of at least 1"),
        ({"batch_size": "2"}, "batch_size='2' must be"),
        ({"num_workers": -1}, "num_workers=-1 must be"),
    ],
)
def test_unknown_choices_are_refused(pipe, arguments, message):
    with pytest.raises(ValueError, match=message):
        pipe(ecg(), **arguments)


def test_flags_are_no_words(pipes):
    for task, name in (
        (TASKS[0], "multi_label"),
        (TASKS[0], "return_similarity"),
        (TASKS[2], "return_above_threshold"),
    ):
        with pytest.raises(ValueError, match=f"{name}='no' must be True or False"):
            pipes[task](ecg(), **{name: "no"})


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"adc_gain": [1.0]}, "a row of a corpus lacks signal, num_samples"),
        (SimpleNamespace(signal=ecg().signal, lead_names=STANDARD_12), "the record has no sampling_rate"),
        (SimpleNamespace(signal=ecg().signal, sampling_rate=500, lead_names=None), "the record has no lead_names"),
        ({"signal": [[1.5, 2.0], [1.0]], "sampling_rate": 500}, "must be equally long"),
        ({"signal": ecg().signal, "sampling_rate": 500, "lead_names": []}, "lead_names="),
        ({"signal": torch.eye(12).to_sparse(), "sampling_rate": 500}, "Tensor cannot be made an array"),
        ({"signal": ecg().signal, "sampling_rate": 500, "lead_names": 3}, "lead_names=3 must be a list"),
    ],
)
def test_inputs_that_lack_something_are_refused(pipe, item, message):
    with pytest.raises(ValueError, match=message) as caught:
        pipe(item)
    assert "\n" not in str(caught.value)


def test_arguments_without_a_name_are_refused(pipe):
    with pytest.raises(ValueError, match="pass all but the ECGs by name"):
        pipe(ecg(), ecg())


# -- kinds of arrays


def test_masks_of_arrays_are_kept(pipe):
    record = ecg()
    holes = np.zeros(record.signal.shape, bool)
    holes[1, 1000:2500] = True
    masked = np.ma.MaskedArray(np.where(holes, -999.0, record.signal), mask=holes)
    expected = numbers(pipe(np.where(holes, np.nan, record.signal), sampling_rate=500))
    for given in (masked, {"signal": masked}):
        assert numbers(pipe(given, sampling_rate=500)) == pytest.approx(expected, abs=1e-6)
    whole = numbers(pipe(record.signal, sampling_rate=500))
    assert whole != pytest.approx(expected, abs=1e-6)


def test_half_precision_is_taken(pipe):
    tensor = torch.from_numpy(ecg().signal).bfloat16()
    expected = numbers(pipe(tensor.float(), sampling_rate=500))
    assert numbers(pipe(tensor, sampling_rate=500)) == pytest.approx(expected, abs=1e-6)


# -- what an answer stands on


def test_details_say_what_was_done(pipe):
    record = ecg(25, leads=("II", "I", "V1", "V7"))
    record.signal[2, :5000] = 0.0
    answer = pipe(record, return_details=True)
    assert set(answer) == {"answer", "details"}
    details = answer["details"]
    assert details["seconds"] == 25
    assert details["sampling_rate"] == (500, 100)
    assert details["leads"]["I"] == details["leads"]["V1"] == "given"  # of one window V1 has signal
    assert details["leads"]["aVF"] == "derived"
    assert details["leads"]["V2"] == "missing"
    assert details["unused"] == ["V7"]
    assert details["warnings"] == []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        details = pipe([ecg(leads=("II",))], return_details=True, batch_size=2)[0]["details"]
    assert [each for each in caught if each.category is UserWarning] == []  # they are in the details
    assert details["masked_share"] == pytest.approx(11 / 12)
    assert len(details["warnings"]) == 1
    assert "only 8% of the model's input is there" in details["warnings"][0]


def test_less_than_half_of_the_input_is_warned_of(pipe):
    with pytest.warns(UserWarning, match=r"^inputs\[1\]: only 8% of the model's input is there"):
        pipe([ecg(), ecg(leads=("II",))])
    with pytest.warns(UserWarning, match="^only 8% of the model's input is there"):
        pipe(ecg(leads=("II",)))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        pipe([ecg(), load_sample()])


def test_noise_is_warned_of_and_a_heart_is_not(pipe):
    noise = EcgRecord(np.random.default_rng(0).normal(size=(12, 5000)), 500, STANDARD_12)
    with pytest.warns(UserWarning, match="of the power lies above 25 Hz, as in noise"):
        pipe(noise)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        pipe(load_sample())


def test_a_rate_too_low_for_a_heart_is_warned_of(pipe):
    slow = EcgRecord(ecg(100).signal[:, ::25], 20, STANDARD_12)
    with pytest.warns(UserWarning, match="20 Hz are too few samples to show a QRS complex"):
        pipe(slow)


def test_the_share_of_noise_is_that_of_the_spectrum():
    times = np.arange(1000) / 100
    waves = [np.sin(2 * np.pi * 5 * times), np.sin(2 * np.pi * 5 * times) + 3 * np.sin(2 * np.pi * 40 * times)]
    for wave, share in zip(waves, (0.0, 0.9), strict=True):
        values = torch.from_numpy(wave)[None, None].float()
        assert noise_share(values, torch.ones_like(values, dtype=bool), 100) == pytest.approx(share, abs=1e-3)
    noise = torch.randn(1, 12, 1000, generator=torch.Generator().manual_seed(0))
    assert noise_share(noise, torch.ones_like(noise, dtype=bool), 100) == pytest.approx(0.5, abs=0.03)
    assert noise_share(noise, torch.ones_like(noise, dtype=bool), 40) == 0.0


def test_windows_with_too_little_signal_do_not_take_part(pipe):
    length = round(pipe.feature_extractor.duration * 500)
    record = ecg(3 * length / 500)
    record.signal[:, length : 2 * length] = np.nan
    record.signal[:, length : length + 50] = 0.1 * np.random.default_rng(0).normal(size=(12, 50))  # 0.1 s
    details = pipe(record, return_details=True)["details"]
    assert details["windows"] == 2
    first, last = (EcgRecord(record.signal[:, a : a + length], 500, STANDARD_12) for a in (0, 2 * length))
    if pipe.task == TASKS[1]:
        expected = np.mean([pipe(first), pipe(last)], axis=0)
        np.testing.assert_allclose(pipe(record), expected, atol=1e-5)


def test_half_the_window_is_enough_where_the_window_is_short(pipes):
    pipe = pipes[TASKS[2]]
    assert pipe.feature_extractor.duration == 2.0
    assert "error" not in pipe(ecg(1.1))
    with pytest.raises(ValueError, match="expected 1 s or more"):
        pipe(ecg(0.9))


def test_records_of_any_class_are_described(pipe):
    bare = SimpleNamespace(signal=ecg().signal, sampling_rate=500, lead_names=STANDARD_12)
    assert pipe(bare, return_details=True)["details"]["masked_share"] == 0


def test_warnings_of_many_inputs_are_few(pipes):
    pipe = pipes[TASKS[1]]
    limb_lead = ecg(leads=("II",))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pipe([limb_lead] * 9, batch_size=4)
    texts = [str(warning.message) for warning in caught]
    assert [text.split(":")[0] for text in texts] == [f"inputs[{place}]" for place in range(4)]
    assert "no more such warnings" in texts[3]


def test_a_record_with_a_path_is_called_by_it(pipe):
    record = ecg(seconds=0.5)
    named = SimpleNamespace(
        path="ward/7.xml", signal=record.signal, sampling_rate=500, lead_names=record.lead_names, units="mV"
    )
    with pytest.raises(ValueError, match=r"^ward/7\.xml: 0\.5 s of signal"):
        pipe([ecg(), named])


def test_a_window_of_a_few_samples_does_not_cost_the_recording(pipe):
    whole, gone = ecg(20.0), ecg(30.0)
    gone.signal[:, 5000:10000] = np.nan
    gone.signal[0, 5001:5003] = 0.3, 0.4
    gone.signal[:, 10000:] = whole.signal[:, 5000:]
    gone.signal[:, :5000] = whole.signal[:, :5000]
    assert_same([pipe(gone)], [pipe(whole)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lead_names": 5}, "lead_names of a row of a corpus is 5, expected a list"),
        ({"num_samples": "x"}, "num_samples of a row of a corpus is 'x', expected a number"),
        ({"signal": b"abc"}, "signal of a row of a corpus is b'abc', expected a list"),
    ],
)
def test_rows_of_the_wrong_kind_are_errors_in_their_place(pipe, small_corpus, change, message):
    row = load_corpus(small_corpus, "test")[0]
    good, bad = pipe([row, {**row, **change}], on_error="return")
    assert "error" not in good
    assert message in bad["error"]


def test_a_slice_of_a_dataset_is_no_list_of_rows(pipe, small_corpus):
    with pytest.raises(ValueError, match=r"2 rows of a corpus at once: pass dataset\.select\(range\(2\)\)"):
        pipe(load_corpus(small_corpus, "test")[:2])


def test_names_of_leads_in_a_list_of_their_own_are_refused(pipe):
    with pytest.raises(ValueError, match="A lead name must be a string"):
        pipe(ecg().signal, sampling_rate=500, lead_names=[list(STANDARD_12)])
