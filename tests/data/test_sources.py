"""Downloads, against a server on this machine that misbehaves as asked."""

import hashlib
import re
import threading
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from dmmsa_cli.data import sources
from dmmsa_cli.data.specs import DRIVE_FOLDER, SPECS, Source
from dmmsa_cli.errors import DiskFull, DownloadFailed, HashMismatch

CONTENT = bytes(range(256)) * 12_000  # 3 MB, several blocks
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Web:
    """What the server has, how it behaves, and what it was asked."""

    url: str = ""
    pages: dict[str, bytes] = field(default_factory=dict)
    cut: list[int] = field(default_factory=list)  # bytes after which each coming answer breaks off
    ranges: bool = True
    asked: list[tuple[str, str]] = field(default_factory=list)  # path, range


def handler(web):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):  # noqa: N802
            asked_range = self.headers.get("Range", "")
            web.asked.append((self.path, asked_range))
            if self.path not in web.pages:
                self.send_error(404)
                return
            body = web.pages[self.path]
            start = int(re.fullmatch(r"bytes=(\d+)-", asked_range)[1]) if asked_range and web.ranges else 0
            if asked_range and web.ranges and start >= len(body):
                self.send_error(416)
                return
            self.send_response(206 if asked_range and web.ranges else 200)
            if asked_range and web.ranges:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            self.send_header("Content-Length", str(len(body) - start))
            self.send_header("Content-Type", "text/html" if body.startswith(b"<html>") else "application/octet-stream")
            self.end_headers()
            self.wfile.write(body[start:][: web.cut.pop(0) if web.cut and not body.startswith(b"<html>") else None])
            self.close_connection = True

        def log_message(self, *arguments):
            pass

    return Handler


@pytest.fixture
def web(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # pooch waits between its tries
    monkeypatch.setattr("random.uniform", lambda low, high: 0.0)  # gdown too
    web = Web()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(web))
    web.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield web
    server.shutdown()
    server.server_close()
    thread.join()


class Seen:
    """A progress callback that remembers."""

    def __init__(self):
        self.calls = []

    def __call__(self, what, done, total):
        self.calls.append((what, done, total))

    def last(self, what):
        return [call for call in self.calls if call[0] == what][-1][1:]


@pytest.fixture
def seen():
    return Seen()


# --- any address ------------------------------------------------------------------------------------------------


def test_a_good_file(web, tmp_path, seen):
    web.pages["/some%20folder/x.pkl"] = CONTENT
    fetched = sources.fetch_url(f"{web.url}/some%20folder/x.pkl?raw=1".split("?")[0], tmp_path, SHA256, seen)
    assert fetched == sources.Fetched(tmp_path / "x.pkl", SHA256)
    assert fetched.path.read_bytes() == CONTENT
    assert seen.last("download") == (len(CONTENT), len(CONTENT))
    assert [asked_range for _, asked_range in web.asked] == [""]  # all of it: nothing is there yet
    assert [path.name for path in tmp_path.iterdir()] == ["x.pkl"]


def test_a_file_that_is_here_is_not_fetched_again(web, tmp_path, seen):
    web.pages["/x.pkl"] = CONTENT
    for _ in range(2):
        sources.fetch_url(f"{web.url}/x.pkl", tmp_path, SHA256, seen)
    assert len(web.asked) == 1


def test_without_a_hash_what_comes_is_taken_each_time(web, tmp_path, seen):
    for content in (CONTENT, CONTENT[:-1]):
        web.pages["/x.pkl"] = content
        fetched = sources.fetch_url(f"{web.url}/x.pkl", tmp_path, None, seen)
        assert fetched.sha256 == hashlib.sha256(content).hexdigest()
        assert fetched.path.read_bytes() == content


def test_a_wrong_file_is_put_aside_and_both_hashes_are_told(web, tmp_path, seen):
    web.pages["/x.pkl"] = b"another file"
    with pytest.raises(HashMismatch) as error:
        sources.fetch_url(f"{web.url}/x.pkl", tmp_path, SHA256, seen)
    assert SHA256 in str(error.value)
    assert hashlib.sha256(b"another file").hexdigest() in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["x.pkl.unexpected"]


@pytest.mark.parametrize("sha256", [SHA256, None])
def test_a_cut_connection_is_gone_on_with(web, tmp_path, seen, sha256):
    web.pages["/x.pkl"] = CONTENT
    web.cut = [1_500_000, 1_200_000]
    assert sources.fetch_url(f"{web.url}/x.pkl", tmp_path, sha256, seen).path.read_bytes() == CONTENT
    starts = [int(asked[6:-1]) for _, asked in web.asked[1:]]
    assert len(starts) == 2
    assert 0 < starts[0] < starts[1]


def test_what_a_kill_left_of_a_download_goes_with_the_next(web, tmp_path, seen):
    web.pages["/x.pkl"] = CONTENT
    (tmp_path / "x.pkl.pooch").mkdir()
    (tmp_path / "x.pkl.pooch" / "tmp1234abcd").write_bytes(b"")
    sources.fetch_url(f"{web.url}/x.pkl", tmp_path, SHA256, seen)
    assert [path.name for path in tmp_path.iterdir()] == ["x.pkl"]


def test_what_pooch_makes_for_itself_lies_in_a_folder_of_its_own(web, tmp_path, seen):
    web.pages["/x.pkl"] = CONTENT
    beside = []
    sources.fetch_url(f"{web.url}/x.pkl", tmp_path, None, lambda *_: beside.extend(tmp_path.iterdir()))
    assert {path.name for path in beside} == {"x.pkl.part", "x.pkl.pooch", "x.pkl"}


def test_a_download_that_was_killed_right_before_its_renaming_is_not_repeated(web, tmp_path, seen):
    (tmp_path / "x.pkl.part").write_bytes(CONTENT)
    assert sources.fetch_url(f"{web.url}/x.pkl", tmp_path, SHA256, seen).path.read_bytes() == CONTENT
    assert web.asked == []
    assert [path.name for path in tmp_path.iterdir()] == ["x.pkl"]


def test_a_server_without_ranges_starts_anew(web, tmp_path, seen):
    web.pages["/x.pkl"], web.ranges = CONTENT, False
    web.cut = [1_500_000]
    assert sources.fetch_url(f"{web.url}/x.pkl", tmp_path, SHA256, seen).path.read_bytes() == CONTENT


def test_what_came_before_giving_up_is_used_next_time(web, tmp_path, seen):
    web.pages["/x.pkl"] = CONTENT
    web.cut = [1_100_000] + [0] * sources.RETRIES
    with pytest.raises(DownloadFailed, match="breaks off"):
        sources.fetch_url(f"{web.url}/x.pkl", tmp_path, SHA256, seen)
    assert [path.name for path in tmp_path.iterdir()] == ["x.pkl.part"]
    web.asked.clear()
    assert sources.fetch_url(f"{web.url}/x.pkl", tmp_path, SHA256, seen).path.read_bytes() == CONTENT
    assert web.asked[0][1].startswith("bytes=1")


def test_a_part_that_is_no_beginning_of_the_file(web, tmp_path, seen):
    web.pages["/x.pkl"] = CONTENT
    (tmp_path / "x.pkl.part").write_bytes(CONTENT + b"more")
    assert sources.fetch_url(f"{web.url}/x.pkl", tmp_path, SHA256, seen).path.read_bytes() == CONTENT


def test_no_such_page(web, tmp_path, seen):
    with pytest.raises(DownloadFailed, match=r"404(.|\n)*--from"):
        sources.fetch_url(f"{web.url}/x.pkl", tmp_path, SHA256, seen)
    assert len(web.asked) == 1  # no use in asking again


def test_nobody_there(web, tmp_path, seen):
    with pytest.raises(DownloadFailed, match="can't be reached"):
        sources.fetch_url("http://127.0.0.1:1/x.pkl", tmp_path, None, seen)


def test_no_room_for_a_download(web, tmp_path, seen):
    if not sources.Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    web.pages["/x.pkl"] = CONTENT
    (tmp_path / "x.pkl.part").symlink_to("/dev/full")
    with pytest.raises(DiskFull, match=r"x\.pkl"):
        sources.fetch_url(f"{web.url}/x.pkl", tmp_path, SHA256, seen)


# --- Google Drive, with a stand-in for its pages ----------------------------------------------------------------

FOLDER = '<a href="https://drive.google.com/drive/folders/{id}" target="_blank"><div>{name}</div></a>'
FILE = '<a href="https://drive.google.com/file/d/{id}/view?usp=drive_web"><div class="t">{name}</div></a>'


def listing(*entries):
    links = "".join(f'<div class="flip-entry">{kind.format(id=i, name=name)}</div>' for kind, i, name in entries)
    return f"<html><head><title>x</title></head><body><a href='/help'>Help</a>{links}</body></html>".encode()


@pytest.fixture
def drive(web, monkeypatch):
    monkeypatch.setattr(sources, "DRIVE_LISTING", web.url + "/list/{id}")
    monkeypatch.setattr(sources, "DRIVE_FILE", web.url + "/file/{id}")
    web.pages |= {
        f"/list/{DRIVE_FOLDER}": listing((FOLDER, "id-mosi", "MOSI"), (FOLDER, "id-mosei", "MOSEI &amp; more")),
        "/list/id-mosi": listing((FOLDER, "id-raw", "Raw"), (FOLDER, "id-done", "Processed"), (FILE, "id-x", "x.csv")),
        "/list/id-done": listing((FILE, "id-al", "aligned_50.pkl"), (FILE, "id-un", "unaligned_50.pkl")),
        "/file/id-un": CONTENT,
    }
    return web


@pytest.fixture
def mosi():
    return replace(SPECS["mosi"], source=Source("MOSI/Processed/unaligned_50.pkl", SHA256))


@pytest.mark.parametrize("address", [sources.DRIVE_LINK, sources.DRIVE_LISTING, sources.DRIVE_FILE])
def test_addresses_are_drives(address):
    parts = urlsplit(address.format(id="1a-B_"))
    assert (parts.scheme, parts.netloc) == ("https", "drive.google.com")
    assert parts.path.endswith("/1a-B_") or parse_qs(parts.query) == {"id": ["1a-B_"]}


def test_only_the_folders_on_the_path_are_walked(drive, mosi, tmp_path, seen):
    fetched = sources.fetch(mosi, tmp_path, seen)
    assert fetched.path == tmp_path / "mosi" / "unaligned_50.pkl"
    assert fetched.path.read_bytes() == CONTENT
    walked = [path for path, _ in drive.asked]
    assert walked == [f"/list/{DRIVE_FOLDER}", "/list/id-mosi", "/list/id-done", "/file/id-un"]
    assert seen.last("download") == (len(CONTENT), len(CONTENT))


def test_names_are_read_from_the_page_as_people_see_them(drive):
    assert sources.list_folder(DRIVE_FOLDER) == {"MOSI": "id-mosi", "MOSEI & more": "id-mosei"}


def test_a_published_file_that_is_here_needs_no_network(drive, mosi, tmp_path, seen):
    sources.fetch(mosi, tmp_path, seen)
    drive.asked.clear()
    sources.fetch(mosi, tmp_path, seen)
    assert drive.asked == []


def test_a_folder_that_has_gone(drive, mosi, tmp_path, seen):
    drive.pages["/list/id-mosi"] = listing((FOLDER, "id-raw", "Raw"))
    with pytest.raises(DownloadFailed) as error:
        sources.fetch(mosi, tmp_path, seen)
    told = str(error.value)
    assert "no Processed in /MOSI/ of the folder, but Raw" in told
    assert f"https://drive.google.com/drive/folders/{DRIVE_FOLDER}" in told
    assert "MOSI/Processed/unaligned_50.pkl" in told
    assert "dmmsa prepare mosi --from unaligned_50.pkl" in told


def test_the_way_by_hand_of_an_aligned_file(drive, tmp_path, seen):
    drive.pages.clear()
    with pytest.raises(DownloadFailed, match=r"dmmsa prepare mosei --aligned --from aligned_50\.pkl"):
        sources.fetch(SPECS["mosei-aligned"], tmp_path, seen)


def test_drive_cut_midway(drive, mosi, tmp_path, seen):
    drive.cut = [1_500_000, 700_000]
    assert sources.fetch(mosi, tmp_path, seen).path.read_bytes() == CONTENT


def test_drive_gives_up_and_goes_on_next_time(drive, mosi, tmp_path, seen):
    """However often it gives up, what has come is kept."""
    drive.cut = [1_500_000] + [0] * sources.RETRIES
    for _ in range(2):
        with pytest.raises(DownloadFailed):
            sources.fetch(mosi, tmp_path, seen)
        (part,) = (tmp_path / "mosi").glob("*.part")
        assert part.stat().st_size >= 1_000_000
        drive.cut = [0] * 20
    drive.cut.clear()
    drive.asked.clear()
    assert sources.fetch(mosi, tmp_path, seen).path.read_bytes() == CONTENT
    assert drive.asked[-1][1].startswith("bytes=1")


def test_a_part_of_another_file_is_thrown_away(drive, mosi, tmp_path, seen):
    (tmp_path / "mosi").mkdir()
    (tmp_path / "mosi" / "unaligned_50.pkl12345678.part").write_bytes(CONTENT + b"more")
    assert sources.fetch(mosi, tmp_path, seen).path.read_bytes() == CONTENT


def test_a_complete_part_left_by_a_kill_before_its_renaming(drive, mosi, tmp_path, seen):
    (tmp_path / "mosi").mkdir()
    (tmp_path / "mosi" / "unaligned_50.pkl12345678.part").write_bytes(CONTENT)
    assert sources.fetch(mosi, tmp_path, seen).path.read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "mosi").iterdir()] == ["unaligned_50.pkl"]


def test_drive_has_another_file(drive, mosi, tmp_path, seen):
    drive.pages["/file/id-un"] = b"a newer one"
    with pytest.raises(HashMismatch, match=SHA256):
        sources.fetch(mosi, tmp_path, seen)
    assert [path.name for path in (tmp_path / "mosi").iterdir()] == ["unaligned_50.pkl.unexpected"]


def test_drive_out_of_reach(mosi, tmp_path, seen, monkeypatch):
    monkeypatch.setattr(sources, "DRIVE_LISTING", "http://127.0.0.1:1/{id}")
    with pytest.raises(DownloadFailed, match=r"can't be reached(.|\n)*By hand: open https://drive"):
        sources.fetch(mosi, tmp_path, seen)
