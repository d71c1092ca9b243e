"""Reading photos: every kind of good file becomes upright RGB, every bad one a clear sentence."""

import warnings

import numpy as np
import pytest
from PIL import Image

from hund_tf import images


def corners(height=40, width=60):
    """Uint8 picture whose quarters are red, green, blue and white: shows any turn or swap of channels."""
    pixels = np.zeros([height, width, 3], np.uint8)
    pixels[: height // 2, : width // 2] = [255, 0, 0]
    pixels[: height // 2, width // 2:] = [0, 255, 0]
    pixels[height // 2:, : width // 2] = [0, 0, 255]
    pixels[height // 2:, width // 2:] = 255
    return pixels


def save(path, pixels=None, **options):
    Image.fromarray(corners() if pixels is None else pixels).save(path, **options)
    return str(path)


def save_with_exif(path, height=40, width=60, orientation=None, tags=()):
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    ifd = exif.get_ifd(0x8769)
    for tag, value in tags:
        ifd[tag] = value
    return save(path, corners(height, width), exif=exif, quality=95)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.bmp", "a.tif", "A.JPEG"])
def test_reads_rgb(tmp_path, name):
    options = {"quality": 95} if "tif" not in name else {}
    pixels = images.read_image(save(tmp_path / name, **options))
    assert pixels.dtype == np.uint8 and pixels.shape == (40, 60, 3)
    np.testing.assert_allclose(pixels[5, 5], [255, 0, 0], atol=12)
    np.testing.assert_allclose(pixels[35, 5], [0, 0, 255], atol=12)


@pytest.mark.parametrize("orientation, top_left, bottom_left", [
    (1, "red", "blue"), (2, "green", "white"), (3, "white", "green"), (4, "blue", "red"),
    (5, "red", "green"), (6, "blue", "white"), (7, "white", "blue"), (8, "green", "red")])
def test_exif_orientation_is_honoured(tmp_path, orientation, top_left, bottom_left):
    colors = {"red": [255, 0, 0], "green": [0, 255, 0], "blue": [0, 0, 255], "white": [255, 255, 255]}
    pixels = images.read_image(save_with_exif(tmp_path / "a.jpg", orientation=orientation))
    assert pixels.shape == ((40, 60, 3) if orientation < 5 else (60, 40, 3))
    np.testing.assert_allclose(pixels[4, 4], colors[top_left], atol=16)
    np.testing.assert_allclose(pixels[-5, 4], colors[bottom_left], atol=16)


def test_other_color_modes_become_rgb(tmp_path):
    red = Image.fromarray(np.full([20, 20, 3], [255, 0, 0], np.uint8))
    red.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    np.testing.assert_allclose(images.read_image(tmp_path / "cmyk.jpg")[10, 10], [255, 0, 0], atol=12)
    red.convert("P").save(tmp_path / "palette.png")
    np.testing.assert_array_equal(images.read_image(tmp_path / "palette.png")[10, 10], [255, 0, 0])
    Image.fromarray(np.full([20, 20], 80, np.uint8)).save(tmp_path / "gray.png")
    np.testing.assert_array_equal(images.read_image(tmp_path / "gray.png")[10, 10], [80, 80, 80])


def test_sixteen_bit_gray_keeps_its_brightness(tmp_path):
    gray = np.full([20, 20], 65535, np.uint16)
    gray[0] = 32896  # 128 * 257
    Image.fromarray(gray).save(tmp_path / "deep.png")
    pixels = images.read_image(tmp_path / "deep.png")
    assert pixels[5, 5].tolist() == [255] * 3 and pixels[0, 0].tolist() == [128] * 3


def test_transparency_is_laid_over_white_and_said(tmp_path):
    rgba = np.zeros([20, 20, 4], np.uint8)
    rgba[10:] = [255, 0, 0, 255]
    photo = images.read_photo(save(tmp_path / "a.png", rgba))
    assert photo.pixels[0, 0].tolist() == [255] * 3 and photo.pixels[15, 0].tolist() == [255, 0, 0]
    assert photo.notes == ("transparent pixels laid over white",)


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png"])
def test_first_frame_of_an_animation_is_taken_and_said(tmp_path, name):
    frames = [Image.fromarray(np.full([20, 20, 3], value, np.uint8)) for value in (200, 20, 90)]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    photo = images.read_photo(tmp_path / name)
    assert photo.notes == ("first of 3 frames",)
    np.testing.assert_allclose(photo.pixels[0, 0], 200, atol=3)


@pytest.mark.parametrize("content, words", [
    (None, "no such file"), (b"", "Received: an empty file"), (b"hello, I am text" * 9, "must be JPEG"),
    (b"\0\0\0\x18ftypheic" + b"\0" * 64, "HEIC"), (b"\xff\xd8\xff\xe0", "damaged")])
def test_what_is_no_photo_is_refused(tmp_path, content, words):
    path = tmp_path / "a.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(images.ImageError, match=words):
        images.read_photo(path)


def test_folder_is_refused(tmp_path):
    with pytest.raises(images.ImageError, match="must be a file. Received: a folder"):
        images.read_photo(tmp_path)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.bmp"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_truncated_file_is_refused(tmp_path, name, share):
    noise = np.random.default_rng(0).integers(0, 255, [200, 300, 3], np.uint8)
    path = tmp_path / name
    save(path, noise)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(images.ImageError, match="damaged"):
        images.read_photo(path)


@pytest.mark.parametrize("height, width", [(1, 1), (15, 400), (20, 30_000)])
def test_size_out_of_bounds_is_refused(tmp_path, height, width):
    path = save(tmp_path / "a.png", np.zeros([height, width, 3], np.uint8))
    with pytest.raises(images.ImageError, match=f"16 to 16,384 pixels.*Received: {width:,} x {height:,}"):
        images.read_photo(path)


@pytest.mark.parametrize("side, words", [(12_000, "12,000 x 12,000"), (30_000, "900 megapixels")])
def test_huge_photo_is_refused_by_its_header(tmp_path, side, words):
    path = tmp_path / "a.png"
    save(path, np.zeros([16, 16, 3], np.uint8))
    content = bytearray(path.read_bytes())
    content[16:24] = side.to_bytes(4, "big") * 2  # the IHDR says a huge size; its checksum has to agree
    import zlib

    content[29:33] = zlib.crc32(bytes(content[12:29])).to_bytes(4, "big")
    path.write_bytes(bytes(content))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(images.ImageError, match=f"65 megapixels. Received: {words}"):
            images.read_photo(path)


def test_focal_length_from_35mm_equivalent(tmp_path):
    path = save_with_exif(tmp_path / "a.jpg", 2 * 24, 2 * 36, tags=[(0xA405, 50)])
    photo = images.read_photo(path)
    np.testing.assert_allclose(photo.intrinsics, (100.0, 100.0, 36.0, 24.0))  # 36 x 24 mm film, 2 pixels a mm
    assert "FocalLengthIn35mmFilm (50 mm)" in photo.intrinsics_source


def test_focal_length_compares_diagonals_and_turns_with_the_photo(tmp_path):
    path = save_with_exif(tmp_path / "a.jpg", 30, 40, orientation=6, tags=[(0xA405, 26)])
    photo = images.read_photo(path)
    assert photo.pixels.shape == (40, 30, 3)
    focal = 26.0 * 50.0 / 43.266615
    np.testing.assert_allclose(photo.intrinsics, (focal, focal, 15.0, 20.0), rtol=1e-6)


def test_focal_length_from_sensor_resolution(tmp_path):
    tags = [(0x920A, 20.0), (0xA20E, 254.0), (0xA210, 2), (0xA002, 120), (0xA003, 80)]
    photo = images.read_photo(save_with_exif(tmp_path / "a.jpg", 40, 60, tags=tags))
    np.testing.assert_allclose(photo.intrinsics[:2], 20.0 * 10.0 / 2)  # 10 pixels a mm, scaled down to half


@pytest.mark.parametrize("tags", [[], [(0xA405, 0)], [(0x920A, 5.0)], [(0xA405, 60_000)],
                                  [(0x920A, 5.0), (0xA20E, 0.0)]])
def test_no_camera_from_missing_or_unbelievable_exif(tmp_path, tags):
    photo = images.read_photo(save_with_exif(tmp_path / "a.jpg", tags=tags))
    assert photo.intrinsics is None and photo.intrinsics_source is None


def test_find_photos_in_folders_and_patterns(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b/2.jpg", "b/1.PNG", "b/notes.txt", "b/.hidden.jpg", "b/deep/3.jpg", "c[1].jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert images.find_photos(["b"]) == (["b/1.PNG", "b/2.jpg"], [])
    assert images.find_photos(["b/*.jpg", "b/2.jpg", "./b"])[0] == ["b/2.jpg", "./b/1.PNG"]
    assert images.find_photos(["b/**/*.jpg"])[0] == ["b/2.jpg", "b/deep/3.jpg"]
    assert images.find_photos(["c[1].jpg"])[0] == ["c[1].jpg"]  # a file of that name comes before the pattern
    assert images.find_photos(["missing.jpg"]) == (["missing.jpg"], [])
    paths, problems = images.find_photos(["x*.jpg", "b/deep/"])
    assert paths == ["b/deep/3.jpg"] and "must match a file" in problems[0][1]
    (tmp_path / "empty").mkdir()
    assert "the folder must hold photos" in images.find_photos(["empty"])[1][0][1]


def test_missing_opencv_names_the_remedy(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    with pytest.raises(ImportError, match="apt-get install libgl1.*opencv-python-headless"):
        images.opencv()
