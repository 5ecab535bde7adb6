// Handles beside the motion's player. The settings Start and End hold the values: what is done here is written there.
const SHORTEST = 0.1; // seconds between the handles
const player = () => document.querySelector(".drop.filled video");
const part = (name) => element.querySelector(`.trim-${name}`);
const fieldOf = (name) => document.querySelector(`#setting-${name} :is(input, textarea)`);
const read = (name, usual) => {
  const text = fieldOf(name).value.trim();
  const seconds = text.split(":").reduce((sum, piece) => 60 * sum + Number(piece), 0);
  return text === "" || Number.isNaN(seconds) ? usual : seconds;
};
const write = (name, seconds) => {
  const usual = name === "start" ? seconds <= 0 : seconds >= player().duration - 0.01;
  fieldOf(name).value = usual ? "" : String(Number(seconds.toFixed(2)));
  fieldOf(name).dispatchEvent(new Event("input", { bubbles: true }));
  show();
};
let dragged = false;
const show = () => {
  const video = player();
  const known = element.isConnected && part("start") && video && Number.isFinite(video.duration);
  if (!known || dragged) return;
  const length = video.duration;
  const [start, end] = [Math.min(read("start", 0), length), Math.min(read("end", length), length)];
  if (!video.paused && (video.currentTime < start - SHORTEST || video.currentTime > end)) video.currentTime = start;
  for (const [name, seconds] of [["start", start], ["end", end]]) {
    part(name).max = length;
    part(name).value = seconds;
    part(name).setAttribute("aria-valuetext", `${seconds.toFixed(2)} seconds`);
    part("track").style.setProperty(`--${name}`, `${(100 * seconds) / length}%`);
  }
  part("track").style.setProperty("--now", `${(100 * video.currentTime) / length}%`);
  part("now").textContent = `${start.toFixed(2)} to ${end.toFixed(2)} of ${length.toFixed(2)} s, at ${video.currentTime.toFixed(2)} s`;
  element.querySelector('[data-trim="play"]').textContent = video.paused ? "Play" : "Pause";
  element.firstElementChild.hidden = false;
};
element.addEventListener("input", ({ target }) => {
  const [start, end] = [part("start"), part("end")];
  if (target === start) start.value = Math.min(start.value, end.value - SHORTEST);
  if (target === end) end.value = Math.max(end.value, Number(start.value) + SHORTEST);
  dragged = true;
  player().pause();
  player().currentTime = target.value;
});
element.addEventListener("change", ({ target }) => {
  dragged = false;
  write(target === part("start") ? "start" : "end", Number(target.value));
});
element.addEventListener("click", ({ target }) => {
  const action = target.closest("[data-trim]")?.dataset.trim;
  if (!action) return;
  const video = player();
  if (action === "play") video.paused ? video.play().catch(() => {}) : video.pause();
  else if (action === "start") write("start", Math.min(video.currentTime, read("end", video.duration) - SHORTEST));
  else write("end", Math.max(video.currentTime, read("start", 0) + SHORTEST));
});
for (const kind of ["loadedmetadata", "timeupdate", "play", "pause", "seeked", "input"]) {
  document.addEventListener(kind, ({ target }) => {
    if (target === player() || target.closest?.("#setting-start, #setting-end")) show();
  }, true);
}
