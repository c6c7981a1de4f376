// What the edit step knows: the pictures wanted and their tags, what is selected, and every change on its way to the disk, one after the other.
"use strict";
(function () {
    const Studio = window.LoraStudio, {t} = Studio;
    const TAB = Math.random().toString(36).slice(2) + Date.now().toString(36);
    const BLOCK = 60;

    // editState({names(), cards(names), tags(), selection(), asked(), trouble(error or null)}): told what has changed.
    Studio.editState = function (tell) {
        const state = {
            project: null, loaded: false, query: {filter: "", include: [], exclude: [], sort: "name"}, names: [], total: 0, captions: 0, repeated: 0,
            present: {undo: "", redo: ""}, tags: [], kinds: new Map(), cards: new Map(), selected: new Set(), anchor: null, copied: null,
        };
        let epoch = 0, edits = 0, asked = 0, counting = 0, line = Promise.resolve(), wanted = new Set(), reading = false;
        const path = (what = "", id = state.project) => Studio.p`projects/${id}/captions` + (what ? "/" + what : "");
        const params = () => ({filter: state.query.filter, include: state.query.include, exclude: state.query.exclude});

        // -- looking ---------------------------------------------------------
        // What the server said of pictures, asked after `since` edits of this page: a card that was told or edited later knows better.
        function take(pictures, since, from = epoch) {
            for (const [name, card] of Object.entries(pictures)) {
                const known = state.cards.get(name);
                if (!known || known.since <= since) state.cards.set(name, {...card, epoch: from, since});
            }
        }
        async function load() {
            const mine = ++asked, project = Studio.state.project;
            if (!project) { state.project = null; state.loaded = false; return; }
            if (project.id !== state.project) {
                Object.assign(state, {project: project.id, loaded: false, names: [], tags: [], anchor: null, query: {filter: "", include: [], exclude: [], sort: state.query.sort}});
                state.cards.clear(); state.selected.clear(); state.kinds.clear();
                tell.trouble(null);
            }
            let found;
            const since = edits;
            try {
                found = await Studio.api.get(path(), {...params(), sort: state.query.sort});
            } catch (error) {
                if (mine !== asked) return;
                if (error.status === 422 && error.data) { tell.trouble(error); return; }
                throw error;
            }
            if (mine !== asked || state.project !== project.id) return;
            epoch++;
            tell.trouble(null);
            Object.assign(state, {loaded: true, names: found.names, total: found.total, captions: found.captions, repeated: found.repeated, present: found.present});
            take(found.pictures, since);
            const there = new Set(found.names);
            for (const name of [...state.selected]) if (!there.has(name)) state.selected.delete(name);
            tell.names();
            tell.cards(Object.keys(found.pictures));
            tell.selection();
            await count();
        }
        async function count() {
            const mine = ++counting, id = state.project;
            const found = await Studio.api.get(path("tags"), params());
            if (mine !== counting || id !== state.project) return;
            state.tags = found.tags;
            for (const [tag, , , group, kind] of found.tags) state.kinds.set(tag, {group, kind});
            tell.tags();
        }
        const loadSoon = Studio.debounce(() => Studio.attempt(load), 250);
        const countSoon = Studio.debounce(() => Studio.attempt(look), 350);
        // After single edits the list of pictures stays as it is: a card does not vanish under the hand that edits it.
        async function look() {
            const id = state.project, found = await Studio.api.get(path(), {...params(), sort: state.query.sort}).catch(() => null);
            if (found && id === state.project) { Object.assign(state, {repeated: found.repeated, captions: found.captions}); tell.selection(); }
            if (id === state.project) await count();
        }
        // The cards of these pictures are in sight: read those that are not known, or not as they are now.
        function see(names) {
            wanted = new Set(names.filter((name) => { const card = state.cards.get(name); return !card || card.epoch !== epoch; }));
            if (wanted.size && !reading) read();
        }
        async function read() {
            reading = true;
            try {
                while (wanted.size) {
                    const some = [...wanted].slice(0, BLOCK), id = state.project, from = epoch, since = edits;
                    for (const name of some) wanted.delete(name);
                    const found = await Studio.api.post(path("read"), {names: some});
                    if (id !== state.project) return;
                    take(found.pictures, since, from);
                    tell.cards(Object.keys(found.pictures));
                }
            } catch (error) { Studio.fail(error); } finally { reading = false; }
        }

        // -- changing --------------------------------------------------------
        // One change after the other, in the order in which they were asked for; each in the project (its id) in which it was.
        function queue(work) {
            const id = state.project, done = line.then(() => work(id));
            line = done.catch(() => {});
            return done;
        }
        function took(found) {
            state.present = found.present;
            if (found.note) Studio.toast(Studio.ts(found.note), "info", "", 30);
            if ("trigger" in found && Studio.state.project && Studio.state.project.id === state.project) Object.assign(Studio.state.project, {trigger: found.trigger, traits: found.traits});
        }
        function set(name, tags) {
            const card = state.cards.get(name);
            if (card) state.cards.set(name, {...card, tags, epoch: -1, since: ++edits});
        }
        // ops: [{op, name, tag, at, to, new, tags}]; gives what the server did, or undefined after telling what went wrong.
        const change = (ops) => queue(async (id) => {
            const full = ops.map((op) => ({...op, seen: state.cards.has(op.name) ? state.cards.get(op.name).tags : null}));
            try {
                const found = await Studio.api.post(path("ops", id), {ops: full, tab: TAB});
                if (id !== state.project) return undefined;
                took(found);
                for (const [name, tags] of Object.entries(found.tags)) set(name, tags);
                tell.cards(Object.keys(found.tags));
                see(Object.keys(found.tags));
                if (found.elsewhere.length) Studio.toast(t("{name} was changed elsewhere meanwhile: both changes are in it.", {name: found.elsewhere.join(", ")}));
                countSoon();
                return found;
            } catch (error) {
                if (error.status === 409 && error.data && error.data.tags) {
                    for (const [name, tags] of Object.entries(error.data.tags)) set(name, tags);
                    tell.cards(Object.keys(error.data.tags));
                }
                Studio.fail(error);
                return undefined;
            }
        });
        // Which pictures a bulk edit is for: "selected", "shown" or "all".
        function scope(which) {
            if (which === "selected") return {names: state.names.filter((name) => state.selected.has(name))};
            if (which === "shown" && filtered()) return {wanted: {...state.query, sort: "name"}};
            return {};
        }
        const filtered = () => Boolean(state.query.filter.trim() || state.query.include.length || state.query.exclude.length);
        const preview = (options, which) => Studio.api.post(path("edit"), {options: {...options, dry_run: true}, ...scope(which)});
        // A bulk edit; with the revision of a preview it is refused (409) when the captions have changed since.
        const bulk = (options, which, revision, among = scope(which)) => queue(async (id) => {
            const found = await Studio.api.post(path("edit", id), {options, ...among, revision, tab: TAB});
            if (id !== state.project) return found;
            took(found);
            await load();
            if (found.refused.length) Studio.toast(t("{n} {caption was|captions were} left alone: {why}", {n: found.refused.length, why: Studio.ts(found.refused[0][1])}), "error");
            return found;
        });
        // Which step that is, entry() says when its turn has come: what was asked for before it counts. null: none.
        const step = (what, entry) => queue(async (id) => {
            const at = id === state.project ? entry() : null;
            if (at === null) return null;
            try {
                const found = await Studio.api.post(path(what, id), {entry: at, tab: TAB});
                if (id !== state.project) return found;
                took(found);
                tell.selection(); // there may be nothing more to take back
                if (found.refused && found.refused.length) Studio.toast(t("{n} {caption was|captions were} left alone: {why}", {n: found.refused.length, why: Studio.ts(found.refused[0][1])}), "error");
                await load();
                Studio.refresh();
                return found;
            } catch (error) {
                if (error.status === 409) await load();
                throw error;
            }
        });

        // -- selecting -------------------------------------------------------
        function select(name, {range = false, more = false} = {}) {
            if (range && state.anchor !== null && state.names.includes(state.anchor)) {
                const a = state.names.indexOf(state.anchor), b = state.names.indexOf(name);
                if (!more) state.selected.clear();
                for (const one of state.names.slice(Math.min(a, b), Math.max(a, b) + 1)) state.selected.add(one);
            } else if (more) {
                if (!state.selected.delete(name)) state.selected.add(name);
                state.anchor = name;
            } else {
                const only = state.selected.size === 1 && state.selected.has(name);
                state.selected.clear();
                if (!only) state.selected.add(name);
                state.anchor = name;
            }
            tell.selection();
        }
        const selectAll = () => { state.selected = new Set(state.names); tell.selection(); };
        const selectNone = () => { state.selected.clear(); tell.selection(); };

        // -- other pages -----------------------------------------------------
        function follow(event) {
            if (event.tab === TAB) return;
            epoch++;
            if (event.what === "edit") Studio.toast(event.names && event.names.length === 1
                ? t("{name} was edited in another window.", {name: event.names[0]}) : t("{n} {caption was|captions were} edited in another window.", {n: event.count}));
            loadSoon();
        }
        return Object.assign(state, {
            load, see, change, scope, preview, bulk, filtered, select, selectAll, selectNone, follow, look: loadSoon,
            // undo(entry): only that step, null when another one came after it.
            undo: (only) => step("undo", () => (only && only !== state.present.undo ? null : state.present.undo || null)),
            redo: () => step("redo", () => state.present.redo || null),
            goTo: (entry) => step("goto", () => entry), restore: () => step("restore", () => ""),
            history: () => Studio.api.get(path("history")),
            ask: (changes) => { Object.assign(state.query, changes); tell.asked(); return load(); },
        });
    };
})();
