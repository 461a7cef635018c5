"""The manifest for Kubernetes has the form that KubeRay takes, and its parts fit together."""

import copy
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from nas.cli.main import app

jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "cluster"
SCHEMA = yaml.safe_load((Path(__file__).parent / "kubernetes.schema.yaml").read_text())


def refuses(document: dict[str, Any]) -> bool:
    return not jsonschema.Draft202012Validator(SCHEMA).is_valid(document)


@pytest.fixture
def documents() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / "rayjob.yaml").read_text()))


@pytest.fixture
def job(documents: list[dict[str, Any]]) -> dict[str, Any]:
    (found,) = (document for document in documents if document["kind"] == "RayJob")
    return found


def pods(job: dict[str, Any]) -> Iterator[dict[str, Any]]:
    cluster = job["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        yield group["template"]["spec"]


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_every_document_has_the_form_of_its_kind(documents: list[dict[str, Any]]) -> None:
    for document in documents:
        kind = {**SCHEMA, "oneOf": [{"$ref": f"#/$defs/{document['kind']}"}]}
        jsonschema.Draft202012Validator(kind).validate(document)


MISTAKES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a number for ray start": lambda spec: spec["headGroupSpec"]["rayStartParams"].update({"num-cpus": 0}),
    "no head": lambda spec: spec.pop("headGroupSpec"),
    "a misspelt key": lambda spec: spec.update(enableAutoscaling=True),
    "no most workers": lambda spec: spec["workerGroupSpecs"][0].pop("maxReplicas"),
    "no image": lambda spec: spec["headGroupSpec"]["template"]["spec"]["containers"][0].pop("image"),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_refused(job: dict[str, Any], mistake: Callable[[dict[str, Any]], Any]) -> None:
    assert not refuses(job)
    broken = copy.deepcopy(job)
    mistake(broken["spec"]["rayClusterSpec"])
    assert refuses(broken)


def test_the_search_is_a_command_on_the_cluster_that_nas_understands(job: dict[str, Any]) -> None:
    program, command, *words = shlex.split(job["spec"]["entrypoint"])
    assert (program, command) == ("nas", "search")
    nas: Any = typer.main.get_command(app)
    given = nas.commands[command].make_context(command, words).params
    assert (given["executor"], given["address"]) == ("ray", "auto")
    mounts = {mount["mountPath"] for mount in next(pods(job))["containers"][0]["volumeMounts"]}
    for path in (given["experiment"], given["study"], given["data_dir"]):
        assert any(str(path).startswith(f"{mount}/") for mount in mounts), path


def test_the_shells_on_its_way_have_nothing_to_change_in_the_command(job: dict[str, Any]) -> None:
    assert re.fullmatch(r"[\w ./:-]+", job["spec"]["entrypoint"])


def test_the_documents_way_to_a_database_fits_into_the_manifest(job: dict[str, Any]) -> None:
    text = (ROOT / "docs" / "cluster.md").read_text()
    for_spec, for_head = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.S)[1:3])
    job["spec"] |= for_spec
    next(pods(job))["containers"][0] |= for_head
    assert not refuses(job)
    words = shlex.split(for_spec["entrypoint"])
    nas: Any = typer.main.get_command(app)
    assert str(nas.commands["search"].make_context("search", words[2:]).params["study"]) == "$STUDY_URL"
    assert for_head["env"][0]["name"] == "STUDY_URL"


def test_workers_are_no_more_than_the_cluster_may_have(job: dict[str, Any]) -> None:
    words = shlex.split(job["spec"]["entrypoint"])
    (group,) = job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    assert int(words[words.index("--workers") + 1]) == group["maxReplicas"]


def test_the_head_takes_no_trials_and_the_workers_have_gpus(job: dict[str, Any]) -> None:
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["headGroupSpec"]["rayStartParams"] == {"num-cpus": "0", "num-gpus": "0"}
    head, worker = (pod["containers"][0]["resources"] for pod in pods(job))
    assert "nvidia.com/gpu" not in head["limits"]
    assert worker["limits"]["nvidia.com/gpu"] == worker["requests"]["nvidia.com/gpu"] == "1"


def test_every_mount_has_its_volume_and_every_claim_is_made(
    documents: list[dict[str, Any]], job: dict[str, Any]
) -> None:
    claims = {document["metadata"]["name"] for document in documents if document["kind"] == "PersistentVolumeClaim"}
    for pod in pods(job):
        mounted = {mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}
        found = (volume.get("persistentVolumeClaim") for volume in pod["volumes"])
        wanted = {claim["claimName"] for claim in found if claim}
        assert wanted == claims


def test_all_nodes_see_study_and_experiment_at_the_same_path(job: dict[str, Any]) -> None:
    head, worker = (
        {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]} for pod in pods(job)
    )
    assert head.items() <= worker.items()


def test_ray_is_the_same_in_manifest_image_and_constraints(job: dict[str, Any]) -> None:
    version = job["spec"]["rayClusterSpec"]["rayVersion"]
    assert f"ray=={version}" in (ROOT / "constraints.txt").read_text().splitlines()
    assert f"FROM rayproject/ray:{version}-py311\n" in (FOLDER / "Dockerfile").read_text()


def test_what_ray_start_is_given_are_its_options(job: dict[str, Any]) -> None:
    scripts = pytest.importorskip("ray.scripts.scripts")
    options = {option for parameter in scripts.start.params for option in parameter.opts}
    cluster = job["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        assert {f"--{name}" for name in group["rayStartParams"]} <= options


def test_one_image_is_used_and_it_is_the_one_that_the_dockerfile_builds(job: dict[str, Any]) -> None:
    (image,) = {container["image"] for pod in pods(job) for container in pod["containers"]}
    assert f" -t {image} ." in (FOLDER / "Dockerfile").read_text().splitlines()[0]


def test_the_image_has_every_package_and_what_is_copied_is_there() -> None:
    copied = re.findall(r"^COPY --chown=\S+ (.*) \S+$", (FOLDER / "Dockerfile").read_text(), re.M)
    names = {name for line in copied for name in line.split()}
    assert all((ROOT / name).exists() for name in names)
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert {package.split(".")[0] for package in packages} <= names
