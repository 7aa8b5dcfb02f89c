// @ts-check
/// <reference lib="dom" />
/**
 * Elements of the page. Names of processes and mappings come in as text only.
 *
 * @module
 */

/**
 * Makes an element.
 *
 * @template {keyof HTMLElementTagNameMap} Name
 * @param {Name} name
 * @param {Record<string, string>} [attributes]
 * @param {readonly (string | Node)[]} [children]
 * @returns {HTMLElementTagNameMap[Name]}
 */
export function element(name, attributes = {}, children = []) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

/**
 * A button.
 *
 * @param {string} sign what it shows
 * @param {string} label what it does
 * @param {() => void} act
 * @returns {HTMLButtonElement}
 */
export function button(sign, label, act) {
  const made = element("button", { type: "button", "aria-label": label }, [
    sign,
  ]);
  made.title = label;
  made.addEventListener("click", act);
  return made;
}

/**
 * A part of the page with a heading.
 *
 * @param {string} title
 * @param {string} explanation
 * @param {readonly (string | Node)[]} children
 * @returns {HTMLElement}
 */
export function section(title, explanation, children) {
  const id = title.toLowerCase().replace(/[^a-z]+/g, "-");
  return element("section", { "aria-labelledby": id }, [
    element("h2", { id }, [title]),
    element("p", { class: "explanation" }, [explanation]),
    ...children,
  ]);
}

/**
 * A colour of the style sheet, as it is in the scheme that is in use.
 *
 * @param {string} name
 * @returns {string}
 */
export function colorOf(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name)
    .trim();
}
