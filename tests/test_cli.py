"""The `hund` command: results, sentences and exit codes, with a stand-in for the networks."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from hund_tf import cli, outputs


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(outputs, "draw", lambda reconstruction, pixels: pixels)
    monkeypatch.setattr(outputs, "_write_mesh", lambda reconstruction, path: outputs.write_atomically(
        path, lambda temporary: pathlib.Path(temporary).write_text("hund_tf")))
    return tmp_path


def photo(path, value=120, size=(48, 64)):
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    Image.fromarray(np.full([*size, 3], value, np.uint8)).save(path)
    return path


def read(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def test_sample_photo_without_arguments(stub_model, capsys):
    assert cli.main(["reconstruct"]) == 0
    assert sorted(os.listdir("hund_out")) == ["street.glb", "street.json", "street.png"]
    assert "street.jpg: 2 people" in capsys.readouterr().out
    assert stub_model.calls[0]["image"].shape == (430, 620, 3)


def test_options_reach_the_model(stub_model):
    photo("a.png")
    assert cli.main("reconstruct a.png -o r --intrinsics 100,110,32,24 --stages 3 --max-people 1 --format json".split()) == 0
    call = stub_model.calls[0]
    assert (call["intrinsics"], call["num_stages"], call["max_people"]) == ((100, 110, 32, 24), 3, 1)
    assert os.listdir("r") == ["a.json"]
    result = read("r/a.json")
    assert result["camera"] == {"intrinsics": [100, 110, 32, 24], "source": "given", "distortion": None}
    assert result["image"] == "a.png" and len(result["people"]) == 1 and result["preset"] == "person"


def test_refinement_is_asked_for_and_told(stub_model):
    photo("a.png")
    assert cli.main("reconstruct a.png -o plain --format json".split()) == 0
    assert cli.main("reconstruct a.png -o refined --refine 40 --format json".split()) == 0
    assert [call["refine"] for call in stub_model.calls] == [0, 40]
    plain, refined = read("plain/a.json"), read("refined/a.json")
    assert (plain["refined"], plain["people"][0]["refined_loss"]) == (0, None)
    assert (refined["refined"], refined["people"][0]["refined_loss"]) == (40, 0.75)


def test_boxes_replace_the_detector(stub_model):
    photo("a.png")
    assert cli.main("reconstruct a.png --box 1,2,30,40 --box 10,2,30.5,40 --format json".split()) == 0
    assert stub_model.calls[0]["boxes"] == [(1, 2, 30, 40), (10, 2, 30.5, 40)]


def test_lists_that_begin_with_a_minus_are_values(stub_model):
    photo("a.png")
    assert cli.main("reconstruct a.png --box -9,2,30,40 --box=-8,2,30,40 --format json".split()) == 0
    assert stub_model.calls[0]["boxes"] == [(-9, 2, 30, 40), (-8, 2, 30, 40)]


def test_box_that_the_photo_does_not_hold_is_bad_input(stub_model, monkeypatch, capsys):
    def refuse(image, **options):
        raise ValueError("A box must overlap the photo.")

    monkeypatch.setattr(stub_model, "reconstruct", refuse)
    photo("a.png")
    assert cli.main("reconstruct a.png --box 900,2,30,40 --format json".split()) == 2
    assert "hund: a.png: A box must overlap the photo." in capsys.readouterr().err


@pytest.mark.parametrize("text, count", [("-0.1,0.01,0,0", 4), ("-0.1,0.01,0.001,0,0.002", 5), ("0.1" + ",0" * 13, 14)])
def test_distortion_reaches_the_model_and_the_json(stub_model, text, count):
    photo("a.png")
    assert cli.main(["reconstruct", "a.png", *"--format json --intrinsics 64,64,32,24 --distortion".split(), text]) == 0
    given = stub_model.calls[0]["distortion"]
    assert len(given) == count and given == tuple(map(float, text.split(",")))
    camera = read("hund_out/a.json")["camera"]
    assert camera == {"intrinsics": [64, 64, 32, 24], "source": "given", "distortion": list(given)}


def test_distortion_takes_the_camera_of_exif(stub_model, capsys):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = 50
    Image.fromarray(np.full([48, 72, 3], 120, np.uint8)).save("a.jpg", exif=exif)
    photo("b.png")
    assert cli.main("reconstruct a.jpg b.png --distortion 0.1,0,0,0 --format json".split()) == 2
    assert os.listdir("hund_out") == ["a.json"]
    assert "b.png: --distortion needs --intrinsics, or a focal length in EXIF." in capsys.readouterr().err


@pytest.mark.parametrize("arguments, words", [
    ("--distortion 0.1,0,0,0", "--distortion needs --intrinsics"),
    ("--distortion -9,0,0,0 --intrinsics 64,64,32,24", "must map the picture one-to-one")])
def test_distortion_that_does_not_fit_exits_with_2_at_once(stub_model, capsys, arguments, words):
    photo("a.png")
    assert cli.main(["reconstruct", "a.png", *arguments.split()]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
    assert not stub_model.calls and not os.path.exists("hund_out")


def test_camera_from_exif(stub_model):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = 50
    Image.fromarray(np.full([48, 72, 3], 120, np.uint8)).save("a.jpg", exif=exif)
    assert cli.main(["reconstruct", "a.jpg", "--format", "json"]) == 0
    camera = read("hund_out/a.json")["camera"]
    assert camera["intrinsics"] == [100, 100, 36, 24] and "EXIF" in camera["source"]


def test_photo_without_people_is_a_normal_result(stub_model, capsys):
    photo("dark.png", 0)
    assert cli.main(["reconstruct", "dark.png"]) == 0
    assert "dark.png: no people found" in capsys.readouterr().out
    assert sorted(os.listdir("hund_out")) == ["dark.json", "dark.png"]


def test_one_bad_file_does_not_stop_the_others_and_is_listed(stub_model, capsys):
    photo("p/a.png"), photo("p/c.png")
    with open("p/b.jpg", "wb") as file:
        file.write(b"no photo")
    assert cli.main(["reconstruct", "p", "missing.jpg", "q*.png", "-o", "r"]) == 2
    captured = capsys.readouterr()
    assert sorted(name for name in os.listdir("r") if name.endswith("json")) == ["a.json", "c.json"]
    assert captured.out.count("2 people") == 2
    ending = captured.err[captured.err.index("3 of 5 could not be done"):]
    assert "b.jpg" in ending and "missing.jpg: no such file" in ending and "q*.png: the pattern must match" in ending
    assert "100%" in captured.err  # the bar


def test_no_bar_for_one_photo(stub_model, capsys):
    photo("a.png")
    cli.main(["reconstruct", "a.png"])
    assert capsys.readouterr().err == ""


def test_same_names_do_not_overwrite_each_other(stub_model):
    photo("a/x.png"), photo("b/x.png")
    assert cli.main(["reconstruct", "a", "b", "-o", "r", "--format", "json"]) == 0
    assert read("r/x.json")["image"] == "a/x.png" and read("r/x-2.json")["image"] == "b/x.png"


def test_a_photo_is_never_overwritten(stub_model, capsys):
    photo("a.png"), photo("b.jpg")
    before = open_bytes("a.png")
    assert cli.main(["reconstruct", ".", "-o", "."]) == 2
    assert "No output may replace a photo" in capsys.readouterr().err
    assert open_bytes("a.png") == before and not stub_model.calls
    assert cli.main(["reconstruct", ".", "-o", ".", "--format", "json"]) == 0


def open_bytes(path):
    with open(path, "rb") as file:
        return file.read()


def test_files_of_others_are_not_replaced(stub_model, capsys):
    photo("a.jpg")
    pathlib.Path("a.json").write_text("labels of mine")
    assert cli.main(["reconstruct", "a.jpg", "-o", "."]) == 2
    assert "a.json" in capsys.readouterr().err and pathlib.Path("a.json").read_text() == "labels of mine"
    assert not stub_model.calls


def test_long_name_does_not_stop_the_others(stub_model):
    photo("a" * 240 + ".png"), photo("b.png")
    assert cli.main(["reconstruct", ".", "--format", "json", "-o", "r"]) == 0
    assert sorted(os.listdir("r")) == ["a" * 240 + ".json", "b.json"]


@pytest.mark.parametrize("output", ["", "/proc/x/y"])
def test_impossible_output_folder_is_refused(stub_model, capsys, output):
    photo("a.jpg")
    assert cli.main(["reconstruct", "a.jpg", "-o", output]) == 2
    assert "--output must be a folder" in capsys.readouterr().err


def test_rerun_replaces_its_results(stub_model):
    photo("a.png")
    cli.main(["reconstruct", "a.png"])
    cli.main(["reconstruct", "a.png", "--max-people", "1"])
    assert len(read("hund_out/a.json")["people"]) == 1


@pytest.mark.parametrize("make, words", [
    (lambda: None, "no such file"),
    (lambda: open("x.jpg", "wb").close(), "an empty file"),
    (lambda: photo("x.jpg", size=(1, 1)), "Received: 1 x 1 pixels"),
    (lambda: photo("x.jpg", size=(20, 30_000)), "Received: 30,000 x 20 pixels"),
    (lambda: os.mkdir("x.jpg"), "the folder must hold photos")])
def test_bad_photo_exits_with_2_and_one_sentence(stub_model, capsys, make, words):
    make()
    assert cli.main(["reconstruct", "x.jpg"]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1 and "Traceback" not in error
    assert not os.path.exists("hund_out")


@pytest.mark.parametrize("arguments, words", [
    ("--intrinsics 1,2,3", "four numbers fx,fy,cx,cy. Received: '1,2,3'"),
    ("--intrinsics 0,2,3,4", "must be positive"), ("--intrinsics nan,2,3,4", "four numbers"),
    ("--stages -1", "from 0 to 50"), ("--stages many", "from 0 to 50"), ("--max-people 0", "at least 1"),
    ("--refine -1", "from 0 to 1000"), ("--refine 2.5", "from 0 to 1000"), ("--refine 1001", "Received: '1001'"),
    ("--format json,exe", "json, glb, obj, ply, png. Received: 'json,exe'"), ("--format ,", "Received: ','"),
    ("--box 1,2,0,4", "must be positive"), ("--box -n", "expected one argument"),
    ("--distortion 1,2,3", "must be 4, 5, 8, 12 or 14 finite numbers k1, k2, p1, p2"),
    ("--distortion 1,2,3,nan", "Received: '1,2,3,nan'"), ("--distortion a,b,c,d", "Received: 'a,b,c,d'"),
    ("--distortion 0,0,0,0,0,0", "4, 5, 8, 12 or 14"), ("--distortion 1e999,0,0,0", "4, 5, 8, 12 or 14"), ("--nonsense", "unrecognized arguments")])
def test_bad_argument_exits_with_2(stub_model, capsys, arguments, words):
    with pytest.raises(SystemExit) as stop:
        cli.main(["reconstruct", "x.jpg", *arguments.split()])
    assert stop.value.code == 2 and words in capsys.readouterr().err


def test_box_with_several_photos_is_refused(stub_model, capsys):
    photo("a.png"), photo("b.png")
    assert cli.main("reconstruct a.png b.png --box 1,2,3,4".split()) == 2
    assert "--box must go with exactly one photo. Received: 2 photos." in capsys.readouterr().err


def test_output_that_is_a_file_is_refused(stub_model, capsys):
    photo("a.png"), open("r", "w").close()
    assert cli.main(["reconstruct", "a.png", "-o", "r"]) == 2
    assert "--output must be a folder" in capsys.readouterr().err
    assert cli.main(["reconstruct", "a.png", "-o", "r/deeper"]) == 2


def test_unknown_preset_is_told_at_once(capsys):
    photo("a.png")
    assert cli.main(["reconstruct", "a.png", "--preset", "nope"]) == 2
    error = capsys.readouterr().err
    assert "hund: No preset 'nope'. Searched: " in error and error.count("\n") == 1
    assert not os.path.exists("hund_out")


def test_damaged_preset_is_told(stub_model, monkeypatch, capsys):
    import hund_tf

    def damaged(name):
        raise ValueError("weights.h5 must have sha256 a. Received: b.")

    monkeypatch.setitem(vars(hund_tf), "load_preset", damaged)
    photo("a.png")
    assert cli.main(["reconstruct", "a.png"]) == 2
    assert "hund: weights.h5 must have sha256 a" in capsys.readouterr().err


def test_presets_lists_names(monkeypatch, capsys):
    monkeypatch.setattr("hund_tf.presets.packaged", lambda: ["body", "other"])
    assert cli.main(["presets"]) == 0
    assert capsys.readouterr().out == "body\nother\n"


def test_missing_system_library_names_the_remedy(stub_model, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "cv2", None)
    photo("a.png")
    assert cli.main(["reconstruct", "a.png"]) == 2
    assert "apt-get install libgl1" in capsys.readouterr().err and not stub_model.calls
    assert cli.main(["reconstruct", "a.png", "--format", "json"]) == 0
    lens = "--intrinsics 64,64,32,24 --distortion 0.1,0,0,0"
    assert cli.main(["reconstruct", "a.png", "--format", "json", *lens.split()]) == 2
    assert "apt-get install libgl1" in capsys.readouterr().err


def test_failure_inside_is_listed_with_exit_code_1(stub_model, capsys, monkeypatch):
    photo("a.png"), photo("b.png")
    real = stub_model.reconstruct

    def fail_once(image, **options):
        if not stub_model.calls:
            stub_model.calls.append({})
            raise RuntimeError("out of luck")
        return real(image, **options)

    monkeypatch.setattr(stub_model, "reconstruct", fail_once)
    assert cli.main(["reconstruct", "a.png", "b.png", "--format", "json"]) == 1
    assert os.listdir("hund_out") == ["b.json"]
    assert "a.png: RuntimeError: out of luck" in capsys.readouterr().err


def test_full_disk_stops_with_exit_code_1(stub_model, capsys, monkeypatch):
    photo("a.png"), photo("b.png")

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(outputs, "write_atomically", full)
    assert cli.main(["reconstruct", "a.png", "b.png", "--format", "json"]) == 1
    assert "results must be writable" in capsys.readouterr().err and len(stub_model.calls) == 1


def test_interrupt_has_its_own_exit_code(stub_model, capsys, monkeypatch):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(stub_model, "reconstruct", interrupt)
    assert cli.main(["reconstruct"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_help_without_a_command(capsys):
    assert cli.main([]) == 2
    assert "reconstruct" in capsys.readouterr().out


def test_help_is_quick_and_does_not_load_tensorflow():
    program = ("import sys; from hund_tf import cli\n"
               "try: cli.main(['reconstruct', '--help'])\n"
               "except SystemExit as stop: assert stop.code == 0\n"
               "assert 'tensorflow' not in sys.modules and 'PIL' not in sys.modules")
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "PYTHONPATH": root})
    assert done.returncode == 0, done.stderr
    assert done.stderr == "" and "NAME.glb" in done.stdout and "exit code" in done.stdout
