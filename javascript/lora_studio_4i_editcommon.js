// The tags that all pictures of a choice share, each in a field of its own: written over, it is replaced in all of them; emptied, it is removed.
"use strict";
(function () {
    const Studio = window.LoraStudio, {h, t} = Studio;
    const MOST = 60, READ = 300; // fields in the dialog; captions that the server tells at once

    // In the order of the first caption, as most captions spell them.
    async function shared(state) {
        const form = (tag) => tag.toLowerCase().replace(/_/g, " ");
        if (!state.selected.size || state.selected.size > READ) {
            return state.tags.filter(([, n]) => n >= state.names.length && n > 0).map(([tag]) => tag);
        }
        const found = await Studio.api.post(Studio.p`projects/${state.project}/captions/read`, {names: [...state.selected]});
        const captions = Object.values(found.pictures).map((one) => one.tags);
        return captions.length ? captions[0].filter((tag, k, all) => all.findIndex((other) => form(other) === form(tag)) === k && captions.every((tags) => tags.some((other) => form(other) === form(tag)))) : [];
    }

    // What the edited fields mean: pairs to replace and tags to remove.
    Studio.commonEdit = function (before, after) {
        const replace = [], remove = [];
        before.forEach((tag, k) => { if (!after[k]) remove.push(tag); else if (after[k] !== tag) replace.push([tag, after[k]]); });
        return {replace, remove};
    };

    Studio.commonDialog = async function (state) {
        const tags = (await shared(state)).slice(0, MOST);
        const fields = tags.map((tag) => Studio.tagInput({value: tag, label: tag, placeholder: t("Removed")}));
        const more = Studio.tagInput({multiple: true, placeholder: t("Tags, with commas between them")});
        const where = Studio.select([["front", t("At the front")], ["end", t("At the end, where missing")]], "front", null, {"aria-label": t("Where")});
        return Studio.bulkDialog(state, {
            title: t("Tags they all have"), ok: t("Apply"),
            body: h("div", {},
                h("p.ls-hint", {}, tags.length ? t("Write another tag over one and it is replaced in every caption; empty a field and the tag is removed.") : t("There is no tag that all of them have.")),
                h("div.ls-edit-common", {}, fields.map((field) => field.node)),
                h("div.ls-edit-fields", {}, Studio.field(t("Add tags"), more.node), Studio.field(t("Where"), where))),
            options: () => {
                const {replace, remove} = Studio.commonEdit(tags, fields.map((field) => field.input.value.trim())), fresh = more.value();
                return replace.length || remove.length || fresh.length ? {replace, remove, [where.value === "front" ? "add_front" : "add"]: fresh} : null;
            },
        });
    };
})();
