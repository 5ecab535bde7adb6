// A heading that folds away what comes after it; page.css goes by `aria-expanded`.
element.addEventListener("click", (event) => {
  const heading = event.target.closest("[aria-expanded]");
  if (heading) heading.setAttribute("aria-expanded", heading.getAttribute("aria-expanded") !== "true");
});
