// The crops of the open project as the server has them: loaded, changed one request after the other, undone; told to whoever listens.
"use strict";
(function () {
    const Studio = window.LoraStudio, {t, p} = Studio;

    Studio.cropState = function (changed) {
        const state = {project: null, revision: 0, undo: 0, redo: 0, options: null, buckets: [], entries: [], skipped: [], adopt: 0, byName: new Map()};
        let line = Promise.resolve();

        function take(answer, id) {
            if (id !== state.project || (answer.partial && answer.revision < state.revision)) return;
            const {entries, partial, counts, ...rest} = answer; // the counts of a partial answer are of its pictures only
            if (partial) {
                for (const one of entries) { const at = state.byName.get(one.source); if (at !== undefined) state.entries[at] = one; }
                delete rest.buckets;
            } else {
                state.entries = entries;
                state.byName = new Map(entries.map((one, k) => [one.source, k]));
            }
            Object.assign(state, rest);
            changed(partial ? new Set(entries.map((one) => one.source)) : null);
        }
        // One request after the other: each is made upon the state that the one before left.
        const queue = (work) => { const result = line.then(work); line = result.catch(() => undefined); return result; };
        const path = (rest) => Studio.p`projects/${state.project}/crop` + rest;

        state.load = () => queue(async () => {
            const id = Studio.state.project ? Studio.state.project.id : null;
            if (id !== state.project) Object.assign(state, {project: id, options: null, entries: [], skipped: [], byName: new Map(), revision: 0});
            if (id !== null) take(await Studio.api.get(path("")), id);
            else changed(null);
        });
        const send = (method, rest, body, possible = () => true) => queue(async () => {
            if (!possible()) return; // asked when its turn has come: what was asked for before it counts
            const id = state.project;
            try {
                take(await Studio.api[method](path(rest), {revision: state.revision, ...body}), id);
            } catch (error) {
                if (error.status === 409 && error.data) take(error.data, id);
                throw error;
            }
        });
        state.change = (changes) => send("put", "/boxes", {changes});
        state.setOptions = (options) => send("put", "/options", options);
        state.takePlan = (plan) => send("put", "/plan-file", {plan});
        state.back = () => send("post", "/undo", {}, () => state.undo);
        state.forward = () => send("post", "/redo", {}, () => state.redo);
        // Somebody (another page, a job) changed something: ask, unless that was us.
        state.follow = (event) => queue(async () => undefined).then(() => (event && event.revision === state.revision ? undefined : state.load()));
        state.get = (name) => state.entries[state.byName.get(name)];
        state.counts = function () {
            const found = {pictures: state.entries.length + state.skipped.length, wanted: 0, done: 0, excluded: 0, too_small: 0, unreadable: state.skipped.length, enlarged: 0, by_hand: 0, pending: 0, more: 0};
            for (const one of state.entries) {
                if (one.left_out === "excluded") found.excluded++;
                else if (one.left_out) found.too_small++;
                else { found.wanted++; if (one.done) found.done++; if (one.warnings.includes("enlarged")) found.enlarged++; found.more += one.more.filter((m) => !m.left_out).length; }
                if (one.by_hand) found.by_hand++;
                if (one.pending) found.pending++;
            }
            return found;
        };
        // Where to get a picture: the original, or the crop that was written (thumbnail of about `size` pixels; 0: whole).
        state.address = (one, written, size) => Studio.api.url(written ? p`projects/${state.project}/pictures/dataset/${one.output}` : p`projects/${state.project}/pictures/raw/${one.source}`,
            {v: written ? one.output_v : one.v, size: size || undefined});
        return state;
    };

    // [text, kind, explanation] of what to think of before cropping this picture.
    Studio.cropBadges = function (one) {
        const found = [];
        if (one.left_out === "excluded") found.push([t("left out"), "", t("You left this picture out.")]);
        else if (one.left_out === "too_small") found.push([t("too small"), "bad", t("It would have to be enlarged, so it is left out. Allow enlarging, choose a smaller size, or make its box larger.")]);
        else if (one.left_out) found.push([t("left out"), "bad", t("The plan was made for another picture of this name.")]);
        if (one.warnings.includes("enlarged") && !one.left_out) found.push([t("enlarged ×{n}", {n: one.scale.toFixed(one.scale < 1.1 ? 2 : 1)}), "warn", t("There are fewer pixels than the crop has: it will be soft, and the LoRA learns that.")]);
        if (one.warnings.includes("elongated") && !one.by_hand) found.push([t("long"), "warn", t("Much of this picture is outside the box: look whether the right part is in it.")]);
        if (one.warnings.includes("another_picture")) found.push([t("replaced"), "warn", t("A box was drawn for another picture of this name; it is not used.")]);
        if (one.warnings.includes("same_name")) found.push([t("same name"), "bad", t("Another picture has the same name with another ending: both would become one file. Rename one.")]);
        return found;
    };
})();
