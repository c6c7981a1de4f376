// Boxes in a picture, as [left, top, right, bottom] in its pixels: pure arithmetic, always inside the picture, always of one ratio.
"use strict";
(function () {
    const Studio = window.LoraStudio;
    const between = (v, low, high) => Math.min(Math.max(v, low), Math.max(low, high));

    // The largest box of this ratio, centred on the focal point (0..1 each) as far as the edges allow: what the server does with a focal point.
    function largest([width, height], aspect, [x, y]) {
        const w = Math.min(width, height * aspect), h = Math.min(height, width / aspect);
        const left = between(x * width - w / 2, 0, width - w), top = between(y * height - h / 2, 0, height - h);
        return [left, top, left + w, top + h];
    }
    function move([left, top, right, bottom], dx, dy, [width, height]) {
        const x = between(left + dx, 0, width - (right - left)), y = between(top + dy, 0, height - (bottom - top));
        return [x, y, x + right - left, y + bottom - top];
    }
    // A box from a fixed corner towards a point: as large as the point asks for, as far as there is picture; never narrower than `least`.
    function span(anchor, point, aspect, [width, height], least, towards) {
        const sx = point[0] === anchor[0] ? towards[0] : Math.sign(point[0] - anchor[0]), sy = point[1] === anchor[1] ? towards[1] : Math.sign(point[1] - anchor[1]);
        const room = Math.min(sx > 0 ? width - anchor[0] : anchor[0], (sy > 0 ? height - anchor[1] : anchor[1]) * aspect);
        const wanted = Math.max(Math.abs(point[0] - anchor[0]), Math.abs(point[1] - anchor[1]) * aspect);
        const w = Math.min(Math.max(wanted, least), room), h = w / aspect;
        const xs = [anchor[0], anchor[0] + sx * w], ys = [anchor[1], anchor[1] + sy * h];
        return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
    }
    // Drag one corner ("nw", "ne", "sw", "se"); the opposite one stays.
    function resize(box, corner, point, aspect, size, least) {
        const east = corner.includes("e"), south = corner.includes("s");
        const anchor = [east ? box[0] : box[2], south ? box[1] : box[3]];
        const held = [east ? Math.max(point[0], anchor[0] + 1) : Math.min(point[0], anchor[0] - 1), south ? Math.max(point[1], anchor[1] + 1) : Math.min(point[1], anchor[1] - 1)];
        return span(anchor, held, aspect, size, least, [east ? 1 : -1, south ? 1 : -1]);
    }
    // Larger or smaller around its centre.
    function grow(box, factor, aspect, size, least) {
        const w = between((box[2] - box[0]) * factor, Math.min(least, size[0], size[1] * aspect), Math.min(size[0], size[1] * aspect)), h = w / aspect;
        const left = (box[0] + box[2] - w) / 2, top = (box[1] + box[3] - h) / 2;
        return move([left, top, left + w, top + h], 0, 0, size);
    }
    const centre = (box, size) => [(box[0] + box[2]) / 2 / size[0], (box[1] + box[3]) / 2 / size[1]];
    const same = (a, b) => a.every((v, k) => Math.abs(v - b[k]) < 0.5);
    Studio.cropBox = {largest, move, span, resize, grow, centre, same};
})();
