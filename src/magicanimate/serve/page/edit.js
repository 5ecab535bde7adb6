// The person of the picture, to be corrected: joints as handles over the picture, and their mask under a brush.
const BONES = [
  ["left_ear", "left_eye"], ["left_eye", "nose"], ["nose", "right_eye"], ["right_eye", "right_ear"],
  ["left_shoulder", "right_shoulder"], ["left_hip", "right_hip"],
  ...["left", "right"].flatMap((side) => [
    ["shoulder", "elbow"], ["elbow", "wrist"], ["shoulder", "hip"], ["hip", "knee"], ["knee", "ankle"],
  ].map((bone) => bone.map((joint) => `${side}_${joint}`))),
];
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const TINT = "#7c3aed";
const [canvas, mask, tint] = [0, 1, 2].map(() => document.createElement("canvas"));
const picture = new Image();
const handles = new Map();
let of = null; // the picture and the person that was found, as the server says
let found = null; // size, joints, mask
let joints = {};
let brushed = false;
let pending = false; // something is not applied yet
let opened = false;
let mode = "joints";
let stroke = null; // where the brush was

const part = (name) => element.querySelector(`.edit-${name}`);
const brush = () => Number(part("brush").value);
const moved = () => Object.keys(joints).filter((name) => joints[name].some((at, axis) => at !== found.joints[name]?.[axis]));

const load = (image, source) => new Promise((ready) => {
  image.onload = image.onerror = ready;
  image.src = source;
});

const readMask = async (png) => {
  const image = new Image();
  await load(image, `data:image/png;base64,${png}`);
  const context = mask.getContext("2d");
  context.globalCompositeOperation = "copy";
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, mask.width, mask.height);
  for (let at = 0; at < pixels.data.length; at += 4) {
    pixels.data[at + 3] = pixels.data[at];
    pixels.data.fill(255, at, at + 3);
  }
  context.putImageData(pixels, 0, 0);
};

const writtenMask = () => {
  const flat = document.createElement("canvas");
  [flat.width, flat.height] = [mask.width, mask.height];
  const context = flat.getContext("2d");
  context.fillRect(0, 0, flat.width, flat.height);
  context.drawImage(mask, 0, 0);
  return flat.toDataURL("image/png").split(",")[1];
};

const written = () => {
  const names = moved();
  if (!names.length && !brushed) return "";
  const edit = { size: found.size, joints: Object.fromEntries(names.map((name) => [name, joints[name]])) };
  if (brushed) edit.mask = writtenMask();
  return JSON.stringify(edit);
};

const draw = () => {
  if (!found || !canvas.isConnected) return;
  const context = canvas.getContext("2d");
  const { width, height } = canvas;
  context.clearRect(0, 0, width, height);
  if (picture.naturalWidth) context.drawImage(picture, 0, 0, width, height);
  const colors = tint.getContext("2d");
  colors.globalCompositeOperation = "copy";
  colors.drawImage(mask, 0, 0);
  colors.globalCompositeOperation = "source-in";
  colors.fillStyle = TINT;
  colors.fillRect(0, 0, width, height);
  context.globalAlpha = mode === "joints" ? 0.25 : 0.5;
  context.drawImage(tint, 0, 0);
  context.globalAlpha = 0.9;
  context.lineWidth = Math.max(width, height) / 250;
  context.strokeStyle = "#fff";
  context.beginPath();
  for (const [from, to] of BONES.filter((bone) => bone.every((name) => joints[name]))) {
    context.moveTo(...joints[from]);
    context.lineTo(...joints[to]);
  }
  context.stroke();
  context.globalAlpha = 1;
  for (const [name, handle] of handles) {
    handle.style.left = `${(100 * joints[name][0]) / width}%`;
    handle.style.top = `${(100 * joints[name][1]) / height}%`;
  }
  const count = moved().length;
  const changes = [count ? `${count} joint${count > 1 ? "s" : ""} moved` : "", brushed ? "mask brushed" : ""];
  const said = changes.filter(Boolean).join(", ") || "As it was found";
  part("told").textContent = said + (pending ? "; not applied yet." : ".");
};

const take = async (edit) => {
  const given = edit ? JSON.parse(edit) : {};
  joints = { ...structuredClone(found.joints), ...given.joints };
  [brushed, pending] = [Boolean(given.mask), false];
  await readMask(given.mask ?? found.mask);
  draw();
};

const begin = async (stage) => {
  of = stage.dataset.picture + stage.dataset.found;
  found = JSON.parse(stage.dataset.found);
  joints = structuredClone(found.joints); // at once: something may draw while picture and mask are loaded
  for (const each of [canvas, mask, tint]) [each.height, each.width] = found.size;
  for (const handle of handles.values()) handle.remove();
  handles.clear();
  for (const name of Object.keys(found.joints)) handles.set(name, newHandle(name));
  stage.append(...handles.values());
  await load(picture, stage.dataset.picture);
  await take(stage.dataset.edit);
};

const newHandle = (name) => {
  const handle = document.createElement("button");
  handle.type = "button";
  handle.className = `edit-joint ${name.split("_")[0]}`;
  handle.dataset.joint = name;
  handle.title = name.replace("_", " ");
  handle.setAttribute("aria-label", `${handle.title}; arrow keys move it`);
  return handle;
};

// The server sends the panel anew after every change; canvas, handles and what is not applied yet stay.
const mount = () => {
  const stage = part("stage");
  if (!stage || stage.contains(canvas)) return;
  stage.prepend(canvas);
  stage.append(...handles.values());
  element.querySelector("details").open = opened;
  element.querySelector(`[value="${mode}"]`).checked = true;
  stage.dataset.mode = mode;
  if (of !== stage.dataset.picture + stage.dataset.found) begin(stage);
  else draw();
};
new MutationObserver(mount).observe(element, { childList: true, subtree: true });
mount();

const position = (event) => {
  const box = canvas.getBoundingClientRect();
  return [
    ((event.clientX - box.left) * canvas.width) / box.width,
    ((event.clientY - box.top) * canvas.height) / box.height,
  ];
};
const move = (name, [x, y]) => {
  const within = (at, most) => Number(Math.min(Math.max(at, 0), most).toFixed(2));
  joints[name] = [within(x, canvas.width), within(y, canvas.height)];
  pending = true;
  draw();
};
const paint = (to) => {
  const context = mask.getContext("2d");
  context.globalCompositeOperation = mode === "add" ? "source-over" : "destination-out";
  context.strokeStyle = "#fff";
  context.lineCap = context.lineJoin = "round";
  context.lineWidth = (brush() / 100) * Math.max(mask.width, mask.height);
  context.beginPath();
  context.moveTo(...stroke);
  context.lineTo(...to);
  context.stroke();
  [stroke, brushed, pending] = [to, true, true];
  draw();
};

element.addEventListener("pointerdown", (event) => {
  const stage = event.target.closest(".edit-stage");
  if (!stage || event.button) return;
  if (mode === "joints" && !event.target.dataset.joint) return;
  event.target.setPointerCapture(event.pointerId);
  event.preventDefault();
  event.target.focus?.();
  if (mode === "joints") return;
  stroke = position(event);
  paint(stroke);
});
element.addEventListener("pointermove", (event) => {
  if (!event.target.hasPointerCapture?.(event.pointerId)) return;
  if (stroke) paint(position(event));
  else if (event.target.dataset.joint) move(event.target.dataset.joint, position(event));
});
for (const kind of ["pointerup", "pointercancel"]) element.addEventListener(kind, () => (stroke = null));
element.addEventListener("keydown", (event) => {
  const name = event.target.dataset.joint;
  if (!name || !ARROWS[event.key]) return;
  event.preventDefault();
  const step = event.shiftKey ? 10 : 1;
  move(name, joints[name].map((at, axis) => at + step * ARROWS[event.key][axis]));
});
element.addEventListener("toggle", (event) => {
  if (event.target.isConnected) opened = event.target.open;
  draw();
}, true);
element.addEventListener("change", ({ target }) => {
  if (target.name !== "edit-mode") return;
  mode = part("stage").dataset.mode = target.value;
  draw();
});
element.addEventListener("click", async ({ target }) => {
  const action = target.closest("[data-edit]")?.dataset.edit;
  if (!["apply", "reset", "download"].includes(action)) return;
  if (action === "reset") await take("");
  if (action === "download") {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([written() || JSON.stringify(found)], { type: "application/json" }));
    link.download = "person.json";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  } else {
    pending = false;
    draw();
    trigger("applied", { edit: written() });
  }
});
