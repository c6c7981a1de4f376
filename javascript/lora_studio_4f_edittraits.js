// Remove traits: what the trigger word shall bring back is taken out of the captions, and the trigger word is put first.
"use strict";
(function () {
    const Studio = window.LoraStudio, {h, t} = Studio;

    // Names of the groups of editing/vocabulary.py as people read them.
    const GROUPS = {
        hair_color: "Hair color", hair_length: "Hair length", hair_style: "Hair style", bangs: "Bangs", eye_color: "Eye color", eye_shape: "Eye shape",
        brows_lashes: "Brows and lashes", nose_mouth_teeth: "Nose, mouth, teeth", species_parts: "Ears, horns, tail, wings", skin_marks: "Skin and marks",
        facial_body_hair: "Beard and body hair", body_build: "Body build", age_species: "Age and kind of being", worn: "Worn things",
    };
    Studio.groupName = (name) => t(GROUPS[name] || name);

    Studio.traitsDialog = async function (state) {
        const {groups} = await Studio.api.get(Studio.p`projects/${state.project}/captions/groups`), project = Studio.state.project;
        const keep = new Set(), also = new Set(), ticks = new Map();
        const trigger = h("input.ls-input", {type: "text", value: project.trigger || project.name, spellcheck: false, placeholder: t("none")});
        const share = h("input", {type: "range", min: 0, max: 100, step: 5, value: 60}), shareText = h("span.ls-edit-share");
        const states = h("input", {type: "checkbox"}), dedupe = h("input", {type: "checkbox", checked: true});
        const tables = h("div.ls-trait-groups"), summary = h("div.ls-trait-summary");
        for (const group of groups) ticks.set(group.name, h("input", {type: "checkbox", checked: !group.optional}));

        const chosen = () => [...ticks].filter(([, box]) => box.checked).map(([name]) => name);
        function options() {
            shareText.textContent = share.value + " %";
            const names = chosen(), word = trigger.value.trim();
            return {
                remove_traits: names.length ? names : null, trait_frequency: Number(share.value) / 100, include_states: states.checked,
                trigger: word, dedupe: dedupe.checked, keep: [...keep], remove: [...also],
            };
        }
        let known = new Map();
        // Tags that somebody keeps by hand are no longer in the preview: what was seen of them stays listed.
        function found(report) {
            if (!report) return;
            const rows = Object.values(report.by_group).flat();
            for (const row of rows) known.set(row.tag, row);
            const now = new Map(rows.map((row) => [row.tag, row]));
            const goes = (tag) => !keep.has(tag) && (also.has(tag) || (now.has(tag) && now.get(tag).removed));
            const pressed = document.activeElement && document.activeElement.closest(".ls-trait-chip") ? document.activeElement.dataset.tag : null;
            const box = (group) => {
                const here = [...known.values()].filter((row) => row.group === group.name && (now.has(row.tag) || keep.has(row.tag) || also.has(row.tag))).sort((a, b) => b.pictures - a.pictures);
                return h("div.ls-trait-group", {class: here.length ? "" : "ls-none-here"},
                    h("label.ls-trait-title", {title: t(group.about)}, ticks.get(group.name), h("span", {}, Studio.groupName(group.name)), group.optional ? h("span.ls-hint", {}, t("only when ticked")) : null),
                    here.length ? h("div.ls-chips", {}, here.map((row) => h("button.ls-chip.ls-trait-chip", {
                        type: "button", class: goes(row.tag) ? "ls-gone" : "", dataset: {tag: row.tag}, "aria-pressed": String(goes(row.tag)), onclick: () => turn(row, goes(row.tag)),
                        title: row.is_state ? t("A passing state, on {n} {picture|pictures}", {n: row.pictures}) : t("On {n} {picture|pictures}, {share} %", {n: row.pictures, share: Math.round(row.frequency * 100)}),
                    }, row.tag, h("span.ls-chip-n", {}, String(row.pictures))))) : h("span.ls-hint", {}, ticks.get(group.name).checked ? t("none in the captions") : ""));
            };
            const order = [...groups].sort((a, b) => a.optional - b.optional);
            Studio.fill(tables, order.map(box));
            if (pressed !== null) { const again = [...tables.querySelectorAll(".ls-trait-chip")].find((chip) => chip.dataset.tag === pressed); if (again) again.focus(); }
            const gone = [...known.values()].filter((row) => goes(row.tag)), stay = [...known.values()].filter((row) => (now.has(row.tag) || keep.has(row.tag)) && !goes(row.tag));
            Studio.fill(summary,
                h("p", {}, h("b", {}, t("Goes, {n} {tag|tags}:", {n: gone.length})), " ", gone.map((row) => row.tag).join(", ") || t("nothing")),
                h("details", {}, h("summary", {}, h("b", {}, t("Stays, {n} {tag|tags}", {n: stay.length}))), stay.map((row) => row.tag).join(", ")));
        }
        // A click keeps what would go, or takes out what would stay.
        function turn(row, goes) {
            keep.delete(row.tag); also.delete(row.tag);
            if (goes) keep.add(row.tag); else if (!row.removed) also.add(row.tag);
            tables.dispatchEvent(new Event("change", {bubbles: true}));
        }
        return Studio.bulkDialog(state, {
            title: t("Remove traits"), ok: t("Remove traits"), options, found,
            said: (done) => Studio.sentences(t("{n} {caption|captions} changed.", {n: done.changed}), done.removed_traits.length ? t("The trigger word now stands for: {tags}.", {tags: (done.traits || []).join(", ")}) : ""),
            body: h("div", {},
                h("p.ls-hint", {}, t("What the captions name, the LoRA learns as something that comes and goes. What they leave out becomes part of the trigger word: so take out what is always true of the character.")),
                h("div.ls-edit-fields", {}, Studio.field(t("Trigger word, put first"), trigger), Studio.field(t("Only tags on at least so many of the pictures"), h("div.ls-row.ls-nowrap", {}, share, shareText), {hint: t("What few pictures show is another outfit or a mistake of the tagger.")}),
                    h("div", {}, Studio.field(t("Passing states too (closed eyes, wet hair)"), states), Studio.field(t("Remove duplicates as well"), dedupe))),
                h("div.ls-hint", {}, t("Struck out goes. Click a tag to keep it or to take it out.")), tables, summary),
        });
    };
})();
