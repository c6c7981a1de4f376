"""The use cases, one method each. The tab, the web API and the command line call these and nothing below."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import untrusted
from .environment import Environment
from .errors import UserError
from .progress import Progress, silent
from .project import Project, is_project, project_name
from .untrusted import is_network

if TYPE_CHECKING:
    from PIL.Image import Image

    from .bundle import Placed
    from .cards import Card
    from .crop import CropOptions, CropPlan
    from .dataset.listing import Listing
    from .editing import EditOptions, EditReport, Op, OpsReport, Wanted
    from .editing.kohya import Incoming
    from .editing.transfer import Transferred
    from .evaluation import EvaluateOptions, GridOptions
    from .host.base import Host
    from .tagging import TagOptions, TagReport
    from .tagging.loose import Seen
    from .training.bases import Base
    from .training.config import TrainingConfig
    from .training.inspect import Inspection
    from .training.kohya_use import Taken
    from .training.places import Granted
    from .training.preflight import Preflight
    from .training.prepare import Draft, Start
    from .training.runs import Run, RunStatus

DEMO_BASE = "demo"


@dataclass(frozen=True)
class Studio:
    """Where things are. ``lora_dir``: a WebUI's LoRA folder, where every saved epoch goes too (None: nowhere else).

    ``environment``: where the trainer and other child processes find their packages.
    """

    projects_dir: Path = field(default_factory=lambda: Path("projects"))
    lora_dir: Path | None = None
    environment: Environment = field(default_factory=Environment)

    @property
    def presets_dir(self) -> Path:
        """The user's own training presets."""
        return self.projects_dir / "_presets"

    # -- projects ------------------------------------------------------------

    def new(self, name: str, images: Sequence[str | Path], progress: Progress = silent) -> dict[str, Any]:
        """Make a project and copy pictures (files or folders) into its ``raw/``."""
        from .dataset.bringing import bring
        from .patience import rmtree

        fresh = not (self.projects_dir / project_name(name)).exists()
        project = Project.create(self.projects_dir, name)
        try:
            report = bring(images, project, progress)
        except UserError:
            if fresh:  # none is left behind that could not be made again: what came in are copies
                rmtree(project.folder, ignore_errors=True)
            raise
        return {"project": str(project.folder), **_plain(asdict(report))}

    def open(self, name: str | Path) -> Project:
        """A project by folder or by name; a ``Loras/<name>/`` folder of the Colab notebooks works as it is."""
        path = Path(name)
        if (self.projects_dir / path).is_dir() and not is_project(path):  # a folder of that name may lie where somebody just is
            path = self.projects_dir / path
        return Project.open(path)

    def rename(self, project: Project, name: str) -> Project:
        """Give a project another name; of a folder that lies elsewhere only the name in its project.json. LoRA files keep theirs."""
        from .dataset import uploads
        from .renaming import rename
        from .training import places

        moved = self.lora_dir is not None and (self.lora_dir / project.name).is_dir()
        ours = project.folder.resolve().parent == self.projects_dir.resolve()
        renamed = rename(project, project_name(name), self.lora_dir, ours)
        loras = [(self.lora_dir / project.name, self.lora_dir / renamed.name)] if self.lora_dir and moved else []
        places.follow([(project.folder, renamed.folder), *loras])
        if ours:
            uploads.follow(self.projects_dir, project.folder.name, renamed.folder.name)
        return renamed

    def add_images(self, project: Project, images: Sequence[str | Path], progress: Progress = silent) -> dict[str, Any]:
        """Copy more pictures into a project."""
        from .dataset.bringing import bring

        return _plain(asdict(bring(images, project, progress)))

    def take_uploads(self, project: Project, batch: Path, progress: Progress = silent) -> dict[str, Any]:
        """Import what was uploaded at once; what could not be taken in waits on."""
        from .dataset.uploads import take

        return _plain(asdict(take(batch, project, progress)))

    def overview(self, project: Project) -> dict[str, dict[str, Any]]:
        """For each of the six steps whether it is done, what to know of it, and the next thing to do."""
        from .overview import overview

        return overview(project)

    # -- pictures ------------------------------------------------------------

    def check(self, project: Project, progress: Progress = silent) -> dict[str, Any]:
        """Look at every picture of ``raw/`` for blur, doubles and the like; the same as `quality` afterwards."""
        from .dataset import quality

        quality.check(_pictures_home(project), project.studio_dir, progress)
        return self.quality(project)

    def quality(self, project: Project) -> dict[str, Any]:
        """What is known of the pictures' quality, with advice; nothing is looked at anew."""
        from .crop.options import CropOptions as Options
        from .dataset import quality

        side = quality.smaller_side(str(_stored_options(Options, project.last("crop")).size))
        return quality.report(_pictures_home(project), project.studio_dir, side)

    def remove_pictures(self, project: Project, where: str, names: Sequence[str]) -> str:
        """Move pictures of ``raw`` or ``dataset`` with their captions into the project's trash; returns the batch for `restore_pictures`."""
        from .dataset.trash import take_out

        return take_out(project, where, names)

    def removed_pictures(self, project: Project) -> list[dict[str, Any]]:
        """What was removed and not brought back, the newest first."""
        from .dataset.trash import batches

        return batches(project)

    def restore_pictures(self, project: Project, batch: str) -> list[str]:
        """Bring back what was removed at once."""
        from .dataset.trash import bring_back

        return bring_back(project, batch)

    def pictures(self, project: Project, where: str) -> Listing:
        """The pictures of ``raw`` or ``dataset`` with their sizes."""
        from .dataset.listing import list_pictures

        return list_pictures(_pictures_dir(project, where), project.studio_dir)

    def picture(self, project: Project, where: str, name: str) -> Path | None:
        """The file of a picture in ``raw`` or ``dataset``; None when there is none of this name."""
        from .dataset.listing import picture_path

        return picture_path(_pictures_dir(project, where), name)

    def thumbnail(self, project: Project, picture: Path, size: int) -> bytes:
        """A picture as a small JPEG. Raises UserError when it cannot be read."""
        from .dataset.thumbnails import thumbnail

        return thumbnail(picture, size, project.studio_dir / "thumbnails")

    def pack(self, project: Project, where: str) -> Iterator[bytes]:
        """The pictures and captions of ``raw`` or ``dataset`` as a ZIP, piece by piece."""
        from .dataset.archive import pack

        return pack(_pictures_dir(project, where))

    def left_out(self, project: Project, where: str) -> list[tuple[Path, str]]:
        """(file, reason) of what `pack` leaves out."""
        from .dataset.archive import left_out

        return left_out(_pictures_dir(project, where))

    def export(self, project: Project, where: str, out: Path) -> None:
        """The same as a file."""
        from .files import atomic_path
        from .patience import opened

        pieces = self.pack(project, where)
        with atomic_path(out) as temporary, opened(temporary, "xb") as file:
            file.writelines(pieces)

    # -- crop, tag, edit -----------------------------------------------------

    def crop(self, project: Project, options: CropOptions | None = None, progress: Progress = silent, force: bool = False) -> dict[str, Any]:
        """Cut every picture of ``raw/`` into ``dataset/``, as people decided for single pictures and else by the options.

        Only what changed is written, unless ``force``. None: the options that are stored. Can be done again as often as wanted.
        """
        from .crop import apply_plan, boxes_of, draft, edit, plan_project, read_plan
        from .dataset import adopt_dataset

        adopt_dataset(project, progress)
        stored = draft.load(project)
        options = options or stored.options
        plan = plan_project(project, options, stored.choices, progress, self.face_detector())
        edit.take_boxes(project, options, boxes_of(read_plan(options.plan_file)) if options.plan_file else {})
        report = apply_plan(plan, project, progress, force)
        self._remember(project, "crop", asdict(options))
        return _plain(asdict(report))

    def crop_plan(self, project: Project, options: CropOptions | None = None, progress: Progress = silent) -> CropPlan:
        """The plan alone; looks at pictures that were not looked at yet, writes no pictures."""
        from .crop import draft, plan_project
        from .dataset import adopt_dataset

        adopt_dataset(project, progress)
        stored = draft.load(project)
        return plan_project(project, options or stored.options, stored.choices, progress, self.face_detector())

    def face_detector(self) -> Path | None:
        """The face detector that somebody put into ``models/lora_studio/detectors`` beside the LoRA folder, or ``_detectors`` beside the projects."""
        from .crop.detectors import find_detector

        models = [self.lora_dir.parent / "lora_studio" / "detectors"] if self.lora_dir is not None else []
        return find_detector([*models, self.projects_dir / "_detectors"])

    def crops(self, project: Project, only: Collection[str] | None = None) -> dict[str, Any]:
        """Options and boxes as people edit them, and what would become of each picture (``only``: of these)."""
        from .crop import view

        return view.show(project, only, None, self.face_detector())

    def read_crop_plan(self, file: str | Path) -> CropPlan:
        """A plan file of somebody's. Raises UserError when it is none."""
        from .crop import read_plan

        return read_plan(file)

    def crop_plan_file(self, project: Project) -> dict[str, Any]:
        """The boxes as they are now, for somebody else to take. Raises UserError while the best places are still being looked for."""
        from .crop import exchange

        return exchange.give(project, self.face_detector())

    def take_crop_plan(self, project: Project, data: Any, revision: int | None = None) -> dict[str, Any]:
        """Take the settings and boxes of a plan file, as one step of undo; it may name pictures that are not here."""
        from .crop import exchange, view

        return view.show(project, None, exchange.take(project, data, revision), self.face_detector())

    def change_crops(self, project: Project, changes: Sequence[Any], revision: int | None = None) -> dict[str, Any]:
        """Change boxes by hand, as one step of undo: [{source, and one of box, focal, method, excluded}].

        Raises OutdatedError when the draft is no longer the one of this revision.
        """
        from .crop import edit, view

        draft, touched = edit.change_boxes(project, changes, revision)
        return view.show(project, touched, draft, self.face_detector())

    def change_crop_options(self, project: Project, options: CropOptions, revision: int | None = None) -> dict[str, Any]:
        """Take other sizes or formats; boxes drawn by hand are fitted to them."""
        from .crop import edit, view

        return view.show(project, None, edit.change_options(project, options, revision), self.face_detector())

    def undo_crops(self, project: Project, revision: int | None = None, forward: bool = False) -> dict[str, Any]:
        """Take the last change of the boxes or options back (``forward``: do it again)."""
        from .crop import edit, view

        draft, touched = edit.step(project, forward, revision)
        return view.show(project, touched, draft, self.face_detector())

    def tag(self, project: Project, options: TagOptions, progress: Progress = silent, infer: bool = True) -> TagReport:
        """Write captions by a WD14 tagger; without ``infer`` by stored probabilities alone."""
        from .tagging import tag_folder

        report = tag_folder(project.dataset_dir, options, progress, infer=infer)
        self._remember(project, "tag", options.to_dict())
        return report

    def interrogate(self, places: Sequence[str], options: TagOptions, recursive: bool, write: bool, progress: Progress = silent) -> list[Seen]:
        """What a tagger sees in pictures anywhere: files, folders, patterns; ``write``: beside them, no project is needed."""
        from .tagging import loose

        return loose.see(loose.find(places, recursive), options, write, progress)

    def tagging(self, project: Project, paths_allowed: bool = False) -> dict[str, Any]:
        """How a project was tagged last, how many captions there are, and for which taggers probabilities are stored."""
        from .tagging import TagOptions as Options
        from .tagging.preview import stored, summary
        from .tagging.taggers import name_of
        from .tagging.wd14 import files_here

        options = _stored_options(Options, project.last("tag"))
        here = [found for m in self.tagger_models() if m["here"] and (found := files_here(self.tagger_model(m["name"]))) is not None]
        return {
            "options": {**options.to_dict(), "model": name_of(self.projects_dir, options.model, paths_allowed)},
            "chosen": "tag" in project.settings, **summary(project.dataset_dir), "stored": stored(project.dataset_dir, here),
        }  # fmt: skip

    def tag_preview(self, project: Project, options: TagOptions, names: Sequence[str] = (), count: int = 6, seed: int = 0) -> dict[str, Any] | None:
        """What tagging would write, by stored probabilities; None for a tagger that is not on this machine."""
        from .tagging.preview import preview
        from .tagging.wd14 import files_here

        files = files_here(options.model)
        return None if files is None else preview(project.dataset_dir, files, options, names=names, count=count, seed=seed)

    def tag_is_instant(self, project: Project, options: TagOptions) -> bool:
        """Whether everything `tag` needs is stored already."""
        from .tagging.preview import is_instant
        from .tagging.wd14 import files_here

        return is_instant(project.dataset_dir, files_here(options.model), options)

    def tagger_model(self, name: str, paths_allowed: bool = False) -> str:
        """What `TagOptions.model` is for a tagger's name on the page."""
        from .tagging.taggers import model_of

        return model_of(self.projects_dir, name, paths_allowed)

    def download_tagger(self, name: str, progress: Progress = silent) -> dict[str, Any]:
        """Fetch a tagger of the catalogue if it is not here."""
        from .tagging.wd14 import find_files

        files = find_files(name, progress)
        return {"name": files.name, "folder": str(files.folder)}

    def tag_share(self, project: Project, options: TagOptions, share: str, progress: Progress = silent) -> dict[str, Any]:
        """Ask the tagger about one share ("1/2") of the pictures; whoever tags afterwards writes the captions."""
        from .tagging.shards import parse_shard, predict_shard

        return {"share": share, "predicted": predict_shard(project.dataset_dir, options, *parse_shard(share), progress)}

    def tag_shares(self, project: Project, options: TagOptions, processes: int, progress: Progress = silent) -> None:
        """Have several processes ask the tagger, each about its share and, where there are several, with a graphics card of its own."""
        from .doctor import nvidia_facts
        from .tagging.shards import card_of, run_shards

        said = ["--model", options.model, "--batch", str(options.batch_size), *(w for p in options.providers or () for w in ("--provider", p))]
        folder, cards, variables = str(project.folder), len(nvidia_facts()), self.environment.variables()
        shares = [("--shard", f"{k + 1}/{processes}", *said, "--json", "--progress", "json") for k in range(processes)]
        run_shards([(self.environment.command("tag", folder, *w), variables | card_of(k, cards)) for k, w in enumerate(shares)], progress)

    def tagger_models(self) -> list[dict[str, Any]]:
        """Every tagger that can be chosen: the catalogue with what is here of it, the demo, and the user's own."""
        from .tagging.taggers import list_taggers

        return [entry.to_dict() for entry in list_taggers(self.projects_dir)]

    def tag_counts(self, project: Project) -> list[list[Any]]:
        """[tag, pictures with it, group of traits or "", "trait", "state" or ""] by the present captions, the most frequent first."""
        from .tagging.vocabulary import kind_of, tag_counts

        return [[tag, n, *kind_of(tag)] for tag, n in tag_counts(project.dataset_dir).items()]

    def vocabulary(self, project: Project, text: str, limit: int = 20, lists: Sequence[Path] = ()) -> list[dict[str, Any]]:
        """Tags that fit what was typed, from the dataset and the lists of the taggers on this machine; ``lists``: more lists of other names."""
        from .tagging import names
        from .tagging.taggers import label_files
        from .tagging.vocabulary import suggest, tag_counts

        underscores, escape = (project.last("tag").get(name) is True for name in ("underscores", "escape"))
        here = tag_counts(project.dataset_dir, now=False)
        others = names.lists(self.projects_dir, lists)
        return [s.to_dict() for s in suggest(text, here, label_files(self.projects_dir), limit, underscores, escape, others)]

    def edit(self, project: Project, options: EditOptions, names: Iterable[str] | None = None, revision: int | None = None) -> EditReport:
        """Change all captions at once, or those of the pictures named; the trigger word and the removed traits become the project's.

        Raises ChangedSinceError when captions changed since the preview of that ``revision``.
        """
        from .editing import steps

        return steps.edit(project, options, names, revision)

    def edit_pictures(self, project: Project, ops: Sequence[Op]) -> OpsReport:
        """Edits of single pictures' tags, as one step of undo."""
        from .editing import edit_pictures

        return edit_pictures(project.dataset_dir, ops)

    def captions(self, project: Project, wanted: Wanted | str, first: int = 0) -> dict[str, Any]:
        """The names of the pictures that a filter means, the first of them described."""
        from .editing import Wanted, view

        return view.show(project.dataset_dir, Wanted(wanted) if isinstance(wanted, str) else wanted, first)

    def captions_of(self, project: Project, names: Sequence[str]) -> dict[str, Any]:
        """Tags and more of the pictures named."""
        from .editing import view

        return view.pictures(project.dataset_dir, names)

    def captions_tags(self, project: Project, wanted: Wanted) -> dict[str, Any]:
        """The tags of the pictures that a filter means, by frequency."""
        from .editing import view

        return view.tags(project.dataset_dir, wanted)

    def trait_groups(self) -> list[dict[str, Any]]:
        """The groups of traits that can be removed."""
        from .editing import view

        return view.groups()

    def history(self, project: Project) -> dict[str, Any]:
        """The edits of the captions, oldest first, those taken back at the end."""
        from .editing import view

        return view.past(project.dataset_dir)

    def history_present(self, project: Project) -> dict[str, str]:
        """The edits that undo and redo would take next."""
        from .editing import view

        return view.present(project.dataset_dir)

    def undo(self, project: Project, expected: str = "") -> dict[str, Any]:
        """Take the last edit of the captions back; with ``expected`` only if it is this one, else OutdatedError is raised."""
        from .editing import steps, undo

        return _plain(steps.through(project, lambda folder: undo(folder, expected)))

    def redo(self, project: Project, expected: str = "") -> dict[str, Any]:
        """Do the edit that was taken back last again."""
        from .editing import redo, steps

        return _plain(steps.through(project, lambda folder: redo(folder, expected)))

    def step_folder(self, folder: Path, forward: bool = False) -> dict[str, Any] | None:
        """Take back (or do again) the last edit of captions in a folder that is no project; None for one whose captions have no history."""
        from .editing import redo, undo
        from .editing.journal import FOLDER

        if (folder / "project.json").exists() or not (folder / FOLDER).is_dir():
            return None
        return _plain(redo(folder) if forward else undo(folder))

    def adopt_history(self, project: Project) -> bool:
        """Use a history of edits that came with the folder as one's own; False when there is none."""
        from .editing.journal import adopt

        return adopt(project.dataset_dir)

    def go_to(self, project: Project, entry: str) -> dict[str, Any]:
        """Undo or redo until this edit is the last one in force ("": before the first)."""
        from .editing import go_to, steps

        return _plain(steps.through(project, lambda folder: go_to(folder, entry)))

    def restore_captions(self, project: Project) -> EditReport:
        """Every caption as it was before this program first touched it; can be undone."""
        from .editing import steps

        return steps.restore(project)

    def odd_captions(self, project: Project, encoding: str = "auto") -> dict[str, Any]:
        """Captions that are not plain UTF-8 on one line, and how they would be read."""
        from .editing import encodings

        return {"found": [one.to_dict() for one in encodings.find(project.dataset_dir, encoding)], "choices": list(encodings.CHOICES)}

    def repair_captions(self, project: Project, encoding: str = "auto") -> EditReport:
        """Write odd captions anew as plain UTF-8; can be undone."""
        from .editing import encodings

        return encodings.repair(project.dataset_dir, encoding)

    def captions_metadata(self, project: Project, full_path: bool = False, file: Path | None = None) -> dict[str, Any]:
        """The captions as kohya's metadata, written into ``file`` if one is given (what else it says stays)."""
        from .editing import kohya

        if file is not None:
            return {"file": str(file), "pictures": kohya.write(file, project.dataset_dir, full_path)}
        return kohya.export(project.dataset_dir, full_path) if project.dataset_dir.is_dir() else {}

    def take_metadata(self, project: Project, metadata: Any, existing: str = "overwrite") -> tuple[EditReport, Incoming]:
        """Captions from kohya's metadata, an object or a file; what fits no picture, or several, is told."""
        from .editing import kohya

        found = kohya.read(metadata) if isinstance(metadata, Path) else kohya.check(metadata)
        return kohya.take(found, project.dataset_dir, existing)  # type: ignore[arg-type]

    def transfer_pictures(self, project: Project, names: Iterable[str], target: Path, move: bool = False) -> Transferred:
        """Copy or move pictures of the dataset with their captions into a folder; nothing there is overwritten."""
        from .editing.transfer import transfer

        return transfer(project.dataset_dir, names, target, move)

    def missing_tags(self, project: Project, tag: str = "", least: float = 0.5) -> dict[str, Any]:
        """Tags that pictures seem to lack, by stored probabilities of a tagger that is here."""
        from .tagging.missing import find_missing
        from .tagging.taggers import list_taggers, model_of
        from .tagging.wd14 import files_here

        here = [files for m in list_taggers(self.projects_dir) if m.here and (files := files_here(model_of(self.projects_dir, m.name))) is not None]
        return find_missing(project.dataset_dir, here, tag, least)

    def classify(self, lines: Iterable[str]) -> Iterable[str]:
        """``tag<TAB>group|STATE|-`` for each tag, as it was given."""
        from .editing import classify_lines

        return classify_lines(lines)

    # -- training ------------------------------------------------------------

    def configure(self, project: Project, base: str | Path, preset: str = "character", settings: Mapping[str, Any] | None = None) -> TrainingConfig:
        """The configuration of a run: preset by the base's family, then ``settings`` on top; all mistakes at once."""
        from .training.prepare import configure

        return configure(self._training_start(project, base, preset), settings or {})

    def draft_training(self, project: Project, base: str | Path, preset: str, settings: Mapping[str, Any]) -> Draft:
        """How a training would be: what the preset sets, every mistake at its option, steps, time, disk and memory."""
        from .training.prepare import draft

        runs = sorted(project.runs_dir.glob("*")) if project.runs_dir.is_dir() else ()
        return draft(self._training_start(project, base, preset), settings, runs)

    def training_form(self, cards: Sequence[Card] = ()) -> dict[str, Any]:
        """The options of a training in groups, with their texts, and the presets. cards: those that can be chosen, where there are several."""
        from .training import form, presets

        return {"groups": form.schema(tuple(cards) if len(cards) > 1 else ()), "presets": presets.listing(self.presets_dir)}

    def save_preset(self, name: str, settings: Mapping[str, Any], began_from: str) -> None:
        """Keep changed options under a name."""
        from .training import presets

        presets.save(name, dict(settings), self.presets_dir, began_from)

    def remove_preset(self, name: str) -> None:
        from .training import presets

        presets.remove(name, self.presets_dir)

    def bases(self, folder: Path) -> list[dict[str, Any]]:
        """Bases that can be downloaded, each with whether it is in ``folder``."""
        from .training import bases

        return bases.listing(folder)

    def download_base(self, name: str, folder: Path, progress: Progress = silent) -> dict[str, Any]:
        """Fetch a base of the catalogue into the checkpoint folder."""
        from .training import bases

        return {"file": bases.download(bases.find(name), folder, progress).name}

    def own_base(self, url: str, file: str) -> Base:
        """A base at an address of the person's own; raises UserError for what cannot be one."""
        from .training import bases

        return bases.own(url, file)

    def download_own_base(self, base: Base, folder: Path, progress: Progress = silent) -> dict[str, Any]:
        """Fetch it into the checkpoint folder."""
        from .training import bases

        return {"file": bases.download(base, folder, progress).name}

    def import_settings(self, project: Project, files: Sequence[Path], name: str = "", base: Path | None = None) -> Taken | dict[str, Any]:
        """Take over settings of kohya's trainer or its GUI: kept as a preset (``name``) that becomes the project's choice."""
        from .training import kohya_toml, kohya_use

        if not kohya_toml.reads_toml():  # a WebUI's Python may not have what our children have
            more = ["--base", str(base)] if base else []
            words = ["--project", str(project.folder.absolute()), "--projects", str(self.projects_dir.absolute()), "--name", name, *more]
            found: dict[str, Any] = self.environment.answer("config", "import", *(str(f.absolute()) for f in files), *words)
            return found
        return kohya_use.use(kohya_toml.read(files), project, self.presets_dir, name, base)

    def settings_of(self, run: Run) -> TrainingConfig:
        """A run's configuration, to look at the files that it names. Raises UserError where those lie on another machine and nobody allowed it."""
        from .training import places

        config = run.config()
        places.check_read(config.to_dict(), run.folder, self._granted(run).places)
        return config

    def export_settings(self, config: TrainingConfig, folder: Path) -> tuple[tuple[str, str], ...]:
        """Write files for kohya's trainer; returns (option, reason) of what it will not do."""
        from .files import atomic_write_json, atomic_write_text
        from .training import kohya_export, kohya_toml
        from .training.basefile import known_family

        if not kohya_toml.reads_toml():
            from .patience import temporary_folder

            with temporary_folder() as place:
                atomic_write_json(place / "config.json", config.to_dict())
                found = self.environment.answer("config", "export", str(place), "--out", str(folder.absolute()))
            return tuple((option, reason) for option, reason in found["lost"])
        made = kohya_export.export(config, folder.absolute().as_posix(), known_family(Path(config.base)))
        for file, text in made.files.items():
            atomic_write_text(folder / file, text)
        return made.lost

    def last_choice(self, project: Project) -> TrainingConfig:
        """The configuration that the project's training step stands at. Raises UserError before a base was chosen."""
        chosen = self._chosen(project)
        if not isinstance(chosen, dict) or not chosen.get("base"):
            raise UserError("No base is chosen for this project yet.", "Choose one in the Train step, or give a run: runs PROJECT lists them.")
        from .training.prepare import configure_from_form

        what = f"The choice of the training in {project.folder}"
        base, preset = (untrusted.text(chosen.get(name) or default, what) for name, default in (("base", ""), ("preset", "character")))
        return configure_from_form(self._training_start(project, base, preset), untrusted.mapping(chosen.get("settings") or {}, what))

    def _chosen(self, project: Project) -> Any:
        """What was chosen for the last training, as the project's file says; nothing of it that only a look at would tell another machine of us."""
        from .training import places

        return places.without_network(project.settings.get("train"), project.folder, places.granted_below(project.folder))

    def preflight(self, project: Project, config: TrainingConfig) -> Preflight:
        """What the run will be, and what is wrong with it."""
        from .training.preflight import preflight

        return preflight(config, sorted(project.runs_dir.glob("*")) if project.runs_dir.is_dir() else ())

    def train(self, project: Project, config: TrainingConfig) -> Run:
        """Check, write the run's folder and start the trainer as a process of its own.

        The configuration is a person's: the places outside of the project that it names are allowed to the run, on this machine.
        """
        run = self.prepare_run(project, config)
        run.start(self.environment, self._granted(run))
        return run

    def start_training(self, project: Project, base: str | Path, preset: str, settings: Mapping[str, Any]) -> Run:
        """Train what a form chose, and remember the choice for the next time."""
        from .training.prepare import configure_from_form

        run = self.train(project, configure_from_form(self._training_start(project, base, preset), settings))
        self._remember(project, "train", {"base": str(base), "preset": preset, "settings": dict(settings)})
        return run

    def run_history(self, project: Project) -> dict[str, Any]:
        """Every run as a line, newest first, the the names in the trash, whether TensorBoard can show them, and what was chosen last."""
        from .training import tensorboard, view

        board = tensorboard.installed(self.environment)
        runs, trash = view.list_view(project.runs_dir), view.trashed(project.folder)
        return {"runs": runs, "trash": trash, "tensorboard": board, "chosen": self._chosen(project)}

    def cut_off_run(self, project: Project) -> dict[str, Any] | None:
        """The project's newest run if it ended without a word: what may be resumed."""
        from .training.view import cut_off

        return cut_off(project.runs_dir)

    def run_detail(self, run: Run) -> dict[str, Any]:
        """A run with its loss curve and samples."""
        from .training.view import detail

        return detail(run)

    def run_log(self, run: Run) -> str:
        """The end of what the trainer printed."""
        from .training.view import log_tail

        return log_tail(run)

    def trash_run(self, project: Project, run: Run) -> None:
        """Move a run's folder to the project's trash; its LoRA files stay."""
        from .training.view import to_trash

        to_trash(run, project.folder)

    def restore_run(self, project: Project, name: str) -> None:
        """Put a run back from the trash."""
        from .training.view import from_trash

        from_trash(project.folder, project.runs_dir, name)

    def tensorboard(self, project: Project) -> int:
        """The port of a TensorBoard over the project's runs, on this machine alone."""
        from .training.tensorboard import start

        return start(project.runs_dir, self.environment)

    def runs(self, project: Project) -> list[RunStatus]:
        """All runs of a project, oldest first."""
        from .training.runs import list_runs

        return [run.status() for run in list_runs(project.runs_dir)]

    def run(self, where: str | Path, name: str = "last") -> Run:
        """A run by its own folder, or by project and name (``last``: the newest)."""
        from .training.runs import Run, find_run

        path = Path(where)
        if (path / "config.json").is_file():
            return Run.open(path)
        return find_run(self.open(where).runs_dir, name)

    def stop(self, run: Run) -> None:
        """Ask a run to save its state and end; it can be resumed."""
        if run.status().state != "running":
            raise UserError(f"The run {run.folder.name} is not running.")
        run.command("stop")

    def resume(self, run: Run, trust: bool = False) -> None:
        """Go on from the last saved state. ``trust``: a person says that the run is their own, with whatever places it names.

        Raises UserError where its settings name places outside of its project that nobody allowed on this machine.
        """
        from .training import places

        config = run.config()
        if trust:
            places.grant(run.folder, places.named(config, run.folder), own=True)
        granted = self._granted(run)
        places.check(config, run.folder, granted.places)
        run.start(self.environment, granted)

    def inspect(self, file: Path, base: Path | None = None) -> Inspection:
        """What a LoRA file holds, and whether it fits a checkpoint."""
        from .demo import checkpoint_path
        from .training.inspect import inspect

        return inspect(file, checkpoint_path() if base is not None and str(base) == DEMO_BASE else base)

    # -- elsewhere -----------------------------------------------------------

    def prepare_run(self, project: Project, config: TrainingConfig) -> Run:
        """Check and write a run's folder; nothing is started."""
        from .training import places
        from .training.runs import Run

        future = project.runs_dir / "new"
        chosen = places.asked(config, future)
        places.check(config, future, chosen)
        self.preflight(project, config).raise_problems()
        run = Run.create(project.runs_dir, config)
        places.grant(run.folder, chosen, own=True)
        return run

    def prepare_training(self, project: Project, base: str | Path, preset: str, settings: Mapping[str, Any]) -> Run:
        """The run that a form chose, checked and written, for another machine to start; the choice is remembered."""
        from .training.prepare import configure_from_form

        run = self.prepare_run(project, configure_from_form(self._training_start(project, base, preset), settings))
        self._remember(project, "train", {"base": str(base), "preset": preset, "settings": dict(settings)})
        return run

    def bundles_dir(self, project: Project) -> Path:
        """Where bundles that the page makes lie."""
        return project.own(project.folder / "bundles")

    def bundles(self, project: Project) -> list[dict[str, Any]]:
        """What the page packed of a project, the newest first: file, bytes, changed."""
        import os

        from .reading import entries

        files = [p for p in entries(self.bundles_dir(project)) if p.suffix == ".zip" and not p.name.startswith(".") and os.path.isfile(p)]
        found = [(path.stat(), path.name) for path in files]
        return [{"file": name, "bytes": s.st_size, "changed": s.st_mtime} for s, name in sorted(found, key=lambda one: -one[0].st_mtime)]

    def bundle(self, project: Project, run: Run, out: Path | None = None, include_base: bool = False, progress: Progress = silent) -> dict[str, Any]:
        """Pack a run with all it needs into one file that any machine with Lora Studio trains."""
        from .bundle import pack

        file = out or Path(f"{project.name}-{run.folder.name}.zip")
        return pack(project, run, file, include_base and not self._is_demo(run.config().base), progress, self.lora_dir)

    def unbundle(
        self, file: Path, base: Path | None = None, train: bool = False, progress: Progress = silent, settings: Mapping[str, Any] | None = None
    ) -> Placed:
        """Put a bundle's run, samples and LoRAs into its project; ``train``: it is to be trained here, so its base must be here too.

        ``settings``: options that belong to this machine (device, threads, processes …).
        """
        from .bundle import place
        from .demo import checkpoint_path
        from .training import places

        beside = [self.lora_dir.parent / "Stable-diffusion"] if self.lora_dir else []
        known = [checkpoint_path(), *beside, Path("models") / "Stable-diffusion"]
        demo = base is not None and str(base) == DEMO_BASE
        placed = place(file, self.projects_dir, self.lora_dir, checkpoint_path() if demo else base, known, progress, train, settings)
        if self.lora_dir is not None:
            places.grant(Path(placed.run), [(self.lora_dir / Path(placed.folder).name).absolute()])
        return placed

    # -- evaluation ----------------------------------------------------------

    def evaluate(self, run: Run, options: EvaluateOptions, progress: Progress = silent) -> dict[str, Any]:
        """Pictures, scores and the recommended epoch of a run."""
        from .evaluation import evaluate

        return evaluate(run.folder, options, progress)

    def tests(self, project: Project) -> dict[str, Any]:
        """Every run with its saved epochs and how it was evaluated, newest first; the taggers that can read pictures here."""
        from .evaluation import view

        runs = view.runs_of(project)
        return {"runs": runs, "taggers": view.taggers_here([run["tagger"] for run in runs])}

    def evaluation(self, run: Run) -> dict[str, Any]:
        """The report of a run (None before it was evaluated), its pictures' addresses, and the samples of the training."""
        from .evaluation import view

        return view.show(run.folder)

    def plan_grid(self, run: Run, options: GridOptions) -> str:
        """Make an epochs × weights grid of a run; nothing is drawn yet. Returns its name."""
        from .evaluation import xygrid

        return xygrid.plan(run.folder, options).name

    def draw_grid(self, run: Run, name: str, progress: Progress = silent, host: Host | None = None) -> dict[str, Any]:
        """Draw what is missing of a grid: with a host's own txt2img, else with our sampler."""
        from .evaluation import hostpainter, xygrid

        return xygrid.fill(run.folder, name, progress, (lambda *plan: hostpainter.HostPainter(host, *plan)) if host else None)

    def grids(self, run: Run) -> list[dict[str, Any]]:
        """The grids of a run, newest first."""
        from .evaluation import xygrid

        return xygrid.list_grids(run.folder)

    def grid(self, run: Run, name: str) -> dict[str, Any]:
        """A grid's options and cells, each with whether it is drawn."""
        from .evaluation import xygrid

        return xygrid.show_grid(run.folder, name)

    def grid_folder(self, run: Run, name: str) -> Path:
        """Where the pictures of a grid lie."""
        from .evaluation import xygrid

        return xygrid.grid_folder(run.folder, name)

    def grid_sheet(self, run: Run, name: str) -> Image:
        """A grid as one labelled picture."""
        from .evaluation import xygrid

        return xygrid.sheet(xygrid.grid_folder(run.folder, name))

    def loras(self, project: Project) -> dict[str, Any]:
        """The project's saved epochs, each with what to write into a prompt, and what lies in its trash."""
        from .evaluation import loras, trash

        trash.settle(project, self.lora_dir)
        return {"loras": [x.to_dict() for x in loras.list_loras(project, self.lora_dir)], "trash": trash.batches(project)}

    def keep_loras(self, project: Project, keep: Sequence[str], run: str = "") -> dict[str, Any]:
        """Move all other saved epochs of a run ("" = of the project) to the project's trash."""
        from .evaluation import trash

        return trash.keep_only(project, self.lora_dir, keep, run)

    def restore_loras(self, project: Project, batch: str = "") -> dict[str, Any]:
        """Put a batch of the trash ("" = the newest) back."""
        from .evaluation import trash

        return trash.restore(project, self.lora_dir, batch)

    def weigh_lora(self, project: Project, file: str, weight: float) -> float:
        """Set the weight with which a LoRA is usually used."""
        from .evaluation import loras

        return loras.set_weight(project, self.lora_dir, file, weight)

    def lora_preview(self, project: Project, file: str) -> Path | None:
        """The picture beside a saved epoch."""
        from .evaluation import loras

        return loras.preview(project, self.lora_dir, file)

    def demo(self, out: Path, character: str, seed: int, progress: Progress = silent, **more: Any) -> dict[str, Any]:
        """From drawn raw pictures to a scored LoRA, on the embedded models."""
        from .demo.pipeline import run_demo

        return run_demo(out, character, seed, progress=progress, **more)

    def doctor(self) -> dict[str, Any]:
        """What this machine has, what is wrong and how to mend it."""
        from .doctor import examine

        return examine(self.projects_dir if self.projects_dir.is_dir() else ".")

    # -- helpers -------------------------------------------------------------

    def _granted(self, run: Run) -> Granted:
        """What a run may use beside its project: the LoRA folder, and what a person allowed it on this machine."""
        from .training.places import Granted, granted

        known = granted(run.folder)
        return Granted((*([str(self.lora_dir.absolute())] if self.lora_dir else []), *known.places), known.own)

    def _remember(self, project: Project, step: str, options: dict[str, Any]) -> None:
        now = Project.open(project.folder)
        replace(now, settings={**now.settings, step: _plain(options)}).save()

    @staticmethod
    def _is_demo(base: str) -> bool:
        from .demo import checkpoint_path

        return not is_network(base) and Path(base).resolve() == checkpoint_path().resolve()

    def _training_start(self, project: Project, base: str | Path, preset: str) -> Start:
        from .demo import checkpoint_path
        from .training.prepare import Start

        demo = checkpoint_path()
        path = demo if str(base) == DEMO_BASE else Path(base)
        return Start(project, path, preset, path.resolve() == demo.resolve(), self.presets_dir, self.lora_dir)


def _pictures_home(project: Project) -> Path:
    """Where the originals are: raw/, or dataset/ of a folder that came without one."""
    return project.raw_dir if project.raw_dir.is_dir() and any(project.raw_dir.iterdir()) else project.dataset_dir


def _stored_options(cls: Any, data: Any) -> Any:
    """Options as they were stored; the defaults where they are none or of another version."""
    try:
        return cls.from_dict(data) if isinstance(data, dict) else cls()
    except (UserError, TypeError, ValueError, AttributeError):
        return cls()


def _pictures_dir(project: Project, where: str) -> Path:
    if where not in ("raw", "dataset"):
        raise UserError(f"There are no pictures in {where}.", "Ask for raw or dataset.")
    return project.raw_dir if where == "raw" else project.dataset_dir


def picture_below(root: Path, relative: str) -> Path | None:
    """A picture below a folder by its address, None for anything that is none or would lead elsewhere."""
    from .evaluation.view import picture

    return picture(root, relative)


def _plain(value: Any) -> Any:
    """JSON values: paths as text, tuples as lists, dataclasses as objects."""
    if hasattr(value, "__dataclass_fields__"):
        value = asdict(value)
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value
