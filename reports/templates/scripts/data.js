"use strict";
// The page's data, and small helpers that make elements. Text from the study is only ever set as text.
const data = JSON.parse(document.getElementById("data").textContent);

function make(tag, attributes, children) {
  const svg = tag.startsWith("svg:");
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag.slice(4)) : document.createElement(tag);
  Object.entries(attributes || {}).forEach(function ([name, value]) { if (value !== null) element.setAttribute(name, value); });
  [].concat(children === undefined ? [] : children).forEach(function (child) { element.append(child); });
  return element;
}
