/** Parts that pages of methods and models share. */
import type { Specs } from '../../src/methods/define';
import type { ParamsSchema } from '../../src/methods/params';
import { paramsJsonSchema } from '../../src/methods/params-json-schema';
import { escaped } from '../site/highlight';
import { Html, html } from '../site/html';
import { isPicture } from '../site/shown';
import type { ExtentField, FormData } from './page-data';

/** The form of a setting: presets, extents, params. */
export function form(params: ParamsSchema, { fields, sample, presets }: FormData): Html {
  const size = ({ letter, name, help, most }: ExtentField) =>
    html`<div class="param"><label for="${name}">${name}</label><input id="${name}" name="${name}" type="number" min="1" max="${most}" value="${sample.extents[letter]}" aria-describedby="${name}-help">${slider(name, { value: sample.extents[letter], most })}<p id="${name}-help">${help}</p></div>`;
  const tries = presets.map(({ name }) => html`<button type="button" data-try>${name}</button>`);
  const { properties = {} } = paramsJsonSchema(params);
  return html`<form id="setting" aria-label="Sizes and params" novalidate>
    ${tries.length > 0 && html`<fieldset class="tries"><legend>Settings</legend>${tries}<p data-note role="status"></p></fieldset>`}
    ${fields.map(size)}
    ${Object.entries(properties).map(([name, property]) => field(name, property as Property, sample.params[name]))}
    <p class="wrong" id="wrong" role="alert"></p>
    <p class="actions"${fields.length + Object.keys(properties).length === 0 && html` hidden`}><button type="button" data-reset>reset</button> <button type="button" data-link>copy link</button></p>
  </form>`;
}

/**
 * A slider beside the field of a number that has a value: over powers of two where it may become large or is a fraction, else
 * over whole numbers.
 */
function slider(field: string, { value, most = Infinity, whole = true }: Slid): Html | false {
  if (typeof value !== 'number' || value < LEAST_SLID) return false;
  const end = Math.min(most, Math.max(16, 16 * value));
  const isLinear = whole && end <= 32;
  const [min, max, step] = isLinear
    ? [1, end, 1]
    : whole
      ? [0, Math.ceil(Math.log2(Math.min(most, Math.max(end, 1024)))), 1]
      : [Math.floor(Math.log2(value)) - 6, Math.ceil(Math.log2(value)) + 6, 0.5];
  return html`<input type="range" data-slider="${field}" data-scale="${isLinear ? 'linear' : 'powers'}" min="${min}" max="${max}" step="${step}" aria-label="${field.replace('param-', '')}">`;
}
interface Slid {
  readonly value: unknown;
  readonly most?: number;
  readonly whole?: boolean;
}
/** Smaller numbers are tolerances and the like. */
const LEAST_SLID = 1e-2;

interface Property {
  readonly type?: string;
  readonly enum?: readonly string[];
  readonly anyOf?: unknown;
  readonly description?: string;
  readonly default?: unknown;
  readonly minimum?: number;
}

/** A description, with the names in it that its author marked as code. */
export const coded = (text: string) => new Html(escaped(text).replace(/`([^`]+)`/g, '<code>$1</code>'));

function field(name: string, property: Property, sampled: unknown): Html {
  const { type, enum: choices, description = '', default: preset, minimum } = property;
  const id = `param-${name}`;
  const help = html`<p id="${id}-help">${coded(description)}</p>`;
  const common = html`id="${id}" name="${name}" data-param aria-describedby="${id}-help"`;
  if (type === 'boolean' && preset !== undefined)
    return html`<div class="param"><label class="tick check" for="${id}">${name} <input type="checkbox" ${common} data-preset="${JSON.stringify(preset)}"></label>${help}</div>`;
  if (choices || type === 'boolean') {
    const options = (choices ?? ['true', 'false']).map(
      (choice) => html`<option${choice === preset && html` selected`}>${choice}</option>`,
    );
    return html`<div class="param"><label for="${id}">${name}</label><select ${common} data-type="${type}"${preset !== undefined && html` data-preset="${String(preset)}"`}>${preset === undefined && html`<option value="">automatic</option>`}${options}</select>${help}</div>`;
  }
  const isNumber = type === 'integer' || type === 'number';
  return html`<div class="param"><label for="${id}">${name}</label><input ${common} type="${isNumber ? 'number' : 'text'}"${isNumber && html` step="${type === 'integer' ? 1 : 'any'}"`}${minimum !== undefined && html` min="${minimum}"`} placeholder="${preset === undefined ? 'automatic' : JSON.stringify(preset)}">${isNumber && slider(id, { value: sampled ?? preset, whole: type === 'integer' })}${help}</div>`;
}

/** A run on each backend: what it takes, and a column for each figure of it. */
export function runSection(columns: Readonly<Record<string, string>>, choice: Html | false = false): Html {
  const heads = Object.entries(columns);
  const empty = ['WebAssembly', 'WebGPU'].map(
    (backend) => html`<tr><td>${backend}</td>${heads.map(() => html`<td>–</td>`)}</tr>`,
  );
  return html`<section class="section"><h2>Run it here<small>In this page, on this device</small></h2>
  <div data-live="run" data-state="idle">
  ${choice}
  <p class="actions"><button class="run" type="button" data-run>Run</button> <button class="run" type="button" data-cancel hidden>Cancel</button> <span data-said role="status" class="quiet">with the setting above</span></p>
  <div class="scroll" tabindex="0" role="region" aria-label="Results"><table class="table plain"><thead><tr><th>Backend</th>${heads.map(([column, head]) => html`<th data-column="${column}">${head}</th>`)}</tr></thead><tbody>${empty}</tbody></table></div>
  <p class="caption" data-notes></p></div>
</section>`;
}

/** The outputs of the setting, as pictures, curves or tables. */
export function outputsFigure(outputs: Specs): Html {
  const kind = Object.values(outputs).some(isPicture) ? 'picture' : 'curves';
  return html`<figure class="outputs" data-live="${kind}" data-state="idle"><div class="shown" data-shown></div><p class="caption" data-said role="status"></p></figure>`;
}
