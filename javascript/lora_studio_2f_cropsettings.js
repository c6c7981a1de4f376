// The settings of the crop step, and its files: a plan given to others or taken from them, the dataset as a ZIP.
"use strict";
(function () {
    const Studio = window.LoraStudio, {h, t} = Studio;
    const SIZES = ["512", "768", "1024"];

    // The card of settings; change(options) is told what somebody chose.
    Studio.cropSettings = function (change) {
        const whole = (low, high, step) => ({type: "number", min: low, max: high, step, class: "ls-input"});
        const number = (props, work) => h("input", {...props, onchange: (e) => { const v = Math.round(Number(e.target.value)); if (e.target.value !== "" && Number.isFinite(v) && v >= props.min && v <= props.max) work(v); else restore(); }});
        let now = null, seen = "", free = false;
        const restore = () => now && show(now, seen);

        const size = Studio.select([["512", t("512 × 512 (SD 1.5)")], ["768", t("768 × 768")], ["1024", t("1024 × 1024 (SDXL)")], ["other", t("Another size")], ["bucket", t("Buckets: each picture keeps its shape")]], "512", (value) => {
            free = value === "other";
            if (free) { show(now, seen); wide.focus(); } else change({size: value});
        });
        const wide = number(whole(8, 8192, 8), () => sides()), tall = number(whole(8, 8192, 8), () => sides());
        const sides = () => change({size: `${wide.value}x${tall.value}`});
        const both = h("div.ls-crop-two", {}, Studio.field(t("Width"), wide), Studio.field(t("Height"), tall));
        const base = number(whole(64, 4096, 64), (v) => change({base: v, bucket_max: 0}));
        const smallest = number(whole(64, 4096, 8), (v) => change({bucket_min: v})), largest = number(whole(0, 8192, 8), (v) => change({bucket_max: v})), step = number(whole(8, 512, 8), (v) => change({bucket_step: v}));
        const buckets = h("div", {}, Studio.field(t("Area of"), h("div.ls-crop-area", {}, Studio.select([["512", "512 × 512"], ["768", "768 × 768"], ["1024", "1024 × 1024"], ["", t("other")]], "512", (v) => v && change({base: Number(v), bucket_max: 0})), base)),
            h("details", {}, h("summary", {}, t("Sides of the buckets")), h("div.ls-crop-three", {}, Studio.field(t("Shortest"), smallest), Studio.field(t("Longest"), largest), Studio.field(t("Multiples of"), step)),
                h("div.ls-hint", {}, t("As in kohya's trainer. Longest 0: 1024, or 2048 for areas above 768 × 768."))));
        const focal = Studio.select([["smart", t("Smart: where the eye goes")], ["face", t("Face: as a detector finds it")], ["center", t("Centre")]], "smart", (value) => change({focal: value}));
        const upscale = h("input", {type: "checkbox", onchange: (e) => change({upscale: e.target.checked})});
        const format = Studio.select([["png", "PNG"], ["jpg", "JPEG"], ["webp", "WebP"], ["avif", "AVIF"]], "png", (value) => change({format: value}));
        const quality = number(whole(1, 100, 1), (v) => change({quality: v}));
        const qualityField = Studio.field(t("Quality"), quality);
        const sizeHint = h("div.ls-hint"), faceHint = h("div.ls-hint.ls-crop-face");

        const box = (work) => h("input", {type: "checkbox", onchange: (e) => work(e.target.checked)});
        const part = (name) => box((on) => change({parts: on ? [...now.parts, name] : now.parts.filter((p) => p !== name)}));
        const upper = part("upper"), face = part("face"), flip = box((on) => change({flip: on}));
        const pad = Studio.select([["", t("Cut off")], ["edge", t("Keep all, repeat the edge")], ["colour", t("Keep all, fill with a colour")]], "", (value) => change({pad: value === "colour" ? colour.value : value}));
        const colour = h("input", {type: "color", value: "#ffffff", "aria-label": t("Colour"), onchange: (e) => change({pad: e.target.value})});
        const split = Studio.select([["0", t("One crop")], ["0.5", t("Several, where one would hold half or less")], ["0.75", t("Several, where one would hold three quarters or less")]], "0", (value) => change({split: Number(value)}));
        const overlap = number(whole(0, 90, 5), (v) => change({split_overlap: v / 100})), overlapField = Studio.field(t("Overlap in percent"), overlap);
        const rename = h("input.ls-input", {type: "text", spellcheck: false, onchange: (e) => change({rename: e.target.value.trim()})});
        const start = number(whole(0, 1000000, 1), (v) => change({rename_start: v})), startField = Studio.field(t("First number"), start);
        const more = h("details.ls-crop-more", {}, h("summary", {}, t("More")),
            Studio.field(t("What does not fit the shape"), h("div.ls-crop-pad", {}, pad, colour)),
            Studio.field(t("Long pictures"), split), overlapField,
            h("div.ls-label", {}, t("Further crops of each picture")), Studio.field(t("Upper body"), upper), Studio.field(t("Face"), face), faceHint,
            Studio.field(t("Mirrored copies"), flip, {hint: t("Not for figures whose left and right differ: a scar, a side ponytail, writing.")}),
            Studio.field(t("File names"), rename, {hint: t("Empty: as the originals. {name}, {n}, {n:3}, {w} and {h} are filled in.", {name: "{name}", n: "{n}", w: "{w}", h: "{h}"})}), startField);
        const faceAgain = h("div.ls-hint.ls-crop-missing", {hidden: true}, t("There is no face detector here yet, so boxes go where the eye goes. See More."));
        const node = h("div.ls-card.ls-crop-settings", {}, h("h3", {}, t("Settings")),
            Studio.field(t("Size"), size), both, buckets, sizeHint,
            Studio.field(t("Where the box goes"), focal, {hint: t("For pictures that you do not place by hand.")}), faceAgain,
            Studio.field(t("Enlarge pictures that are too small"), upscale, {hint: t("Otherwise they are left out. Enlarged pictures are soft, and the LoRA learns that.")}),
            h("div.ls-crop-two", {}, Studio.field(t("Format"), format), qualityField), more);

        function show(options, detector) {
            now = options; seen = detector;
            const fixed = options.size.split("x"), plain = fixed.length === 1 || fixed[0] === fixed[1];
            const kind = options.size === "bucket" ? "bucket" : plain && SIZES.includes(fixed[0]) && !free ? fixed[0] : "other";
            const put = (field, value) => { if (document.activeElement !== field || !["number", "text"].includes(field.type)) field.value = value; };
            size.value = kind;
            both.hidden = kind !== "other"; buckets.hidden = kind !== "bucket";
            if (kind !== "bucket") { put(wide, fixed[0]); put(tall, fixed[1] || fixed[0]); }
            put(base, options.base); put(smallest, options.bucket_min); put(largest, options.bucket_max); put(step, options.bucket_step);
            const area = buckets.querySelector("select");
            area.value = SIZES.includes(String(options.base)) ? String(options.base) : "";
            sizeHint.textContent = kind === "bucket" ? t("Nothing of a picture is lost but a sliver; the trainer takes pictures of the same shape together.") : "";
            sizeHint.hidden = kind !== "bucket";
            focal.value = options.focal; upscale.checked = options.upscale; format.value = options.format; put(quality, options.quality);
            qualityField.hidden = options.format === "png";
            const coloured = options.pad.startsWith("#");
            pad.value = coloured ? "colour" : options.pad; colour.hidden = !coloured;
            if (coloured) colour.value = options.pad;
            const share = String(options.split);
            if (![...split.options].some((o) => o.value === share)) split.append(h("option", {value: share}, t("Several, where one would hold {n} % or less", {n: Math.round(options.split * 100)})));
            split.value = share; overlapField.hidden = !options.split; put(overlap, Math.round(options.split_overlap * 100));
            upper.checked = options.parts.includes("upper"); face.checked = options.parts.includes("face"); flip.checked = options.flip;
            put(rename, options.rename); put(start, options.rename_start); startField.hidden = !/\{n(:\d)?\}/.test(options.rename);
            const asked = options.focal === "face" || options.parts.length > 0;
            faceHint.textContent = detector ? t("Faces are found by {file}.", {file: detector}) : t("Faces need a detector: put an ONNX file (YuNet, or an anime-face YOLO) into models/lora_studio/detectors.");
            faceHint.classList.toggle("ls-crop-missing", asked && !detector);
            faceAgain.hidden = !(asked && !detector);
        }
        return {node, show};
    };

    // What goes out and comes in as a file.
    Studio.cropFiles = function (state) {
        const link = (text, path, hint) => h("a.ls-button.ls-small", {title: hint, download: "", dataset: {path}}, text);
        const plan = link(t("Save plan"), "crop/plan-file", t("Settings and boxes as a file: another person with the same pictures comes to the same crops."));
        const zip = link(t("Dataset as ZIP"), "archive/dataset", t("The crops with their captions."));
        const chooser = h("input", {type: "file", accept: ".json,application/json", hidden: true, onchange: async () => {
            const file = chooser.files[0];
            chooser.value = "";
            if (file) await Studio.attempt(() => take(file));
        }});
        async function take(file) {
            let found;
            try { found = JSON.parse(await file.text()); } catch (error) { throw new Studio.ApiError(422, {error: t("{name} is no plan.", {name: file.name}), hint: t("Choose a file that was saved by Save plan.")}); }
            await state.takePlan(found);
            Studio.toast(t("The plan's settings and boxes are taken. Undo brings yours back."), "ok");
        }
        const node = h("div.ls-card.ls-crop-files", {}, h("h4", {}, t("Files")), h("div.ls-row", {}, plan, h("button.ls-button.ls-small", {type: "button", onclick: () => chooser.click()}, t("Take a plan…")), zip, chooser));
        return {
            node,
            show(found) {
                for (const each of [plan, zip]) each.href = Studio.api.url(Studio.p`projects/${state.project}/` + each.dataset.path);
                plan.hidden = !found.wanted || found.pending > 0;
                zip.hidden = !found.done;
            },
        };
    };
})();
