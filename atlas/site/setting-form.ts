/** The form of sizes and params, its setting, and the link that restores it. */
import type { Preset } from '../../src/methods/page';
import type { ExtentField, FormData } from '../build/page-data';
import { keepInAddress, stateOfAddress } from './address';
import { $, $$, copies, grouped, wholeNumber } from './page';
import { REAL_NUMBERS, type RealNumbers, tokensIn } from './problem';
import { placeSliders, startSliders } from './sliders';
import type { Setting } from './tasks/setting';

/** So that counting takes no more than seconds. */
const MOST_TOKENS = 65_536;
/** Milliseconds from a change until the address has it. */
const PAUSE = 400;

type Field = HTMLInputElement | HTMLSelectElement;
type PlainField = Field | HTMLTextAreaElement;

export class SettingForm {
  readonly #form = $<HTMLFormElement>('.bench form');
  readonly #fields = $$<Field>('[data-param]', this.#form);
  /** Sizes, and what the method is run on, which may stand elsewhere in the page. */
  readonly #plain = ([...this.#form.elements] as PlainField[]).filter(
    ({ name, dataset }) => name && dataset.param === undefined,
  );
  /** How parts show the setting, by fields outside the form. */
  readonly #shown = $$<Field>('[data-kept]');
  readonly #data: FormData;
  #due: ReturnType<typeof setTimeout> | undefined;

  constructor(data: FormData, onChange: () => void) {
    this.#data = data;
    startSliders();
    this.#reset();
    this.#restore();
    this.#form.addEventListener('submit', (event) => event.preventDefault());
    document.addEventListener('input', ({ target }) => {
      if ((target as PlainField).form !== this.#form) return;
      this.#note();
      this.#fix();
      this.remember();
      onChange();
    });
    for (const [at, button] of $$('[data-try]', this.#form).entries())
      button.addEventListener('click', () => {
        this.#try(data.presets[at], button);
        onChange();
      });
    for (const field of this.#shown) field.addEventListener('input', () => this.remember());
    // The address itself may have been replaced since, by the setting before.
    addEventListener('hashchange', ({ newURL }) => {
      this.#restore(newURL);
      this.remember();
      onChange();
    });
    $('[data-reset]', this.#form).addEventListener('click', () => {
      this.#reset();
      this.remember();
      onChange();
    });
    const link = () => {
      this.#remember();
      return location.href;
    };
    copies($('[data-link]', this.#form), link, 'it is in the address');
  }

  /** The setting in the form; throws a sentence if a size is invalid. */
  setting(): Setting {
    const { name, fields, baseline } = this.#data;
    const extents = Object.fromEntries(fields.map((field) => [field.letter, wholeNumber(field.name, field.most)]));
    if (baseline && tokensIn(extents) > MOST_TOKENS)
      throw new Error(`There may be at most ${grouped(MOST_TOKENS)} tokens, got ${grouped(tokensIn(extents))}.`);
    const [numbers, text] = ['numbers', 'text'].map((field) => this.#plain.find((each) => each.name === field)?.value);
    return {
      method: name,
      extents,
      params: this.#params(),
      ...(isReal(numbers) && { numbers, ...(text?.trim() && { text }) }),
    };
  }

  /** Puts it into the address, soon: browsers allow few changes a second. */
  remember(): void {
    this.#due ??= setTimeout(() => this.#remember(), PAUSE);
  }

  /** Another length of the sequence, as a text has it. */
  setLength(tokens: number): void {
    const { name } = this.#data.fields.find(({ letter }) => letter === 'n')!;
    const field = $<HTMLInputElement>(`#${name}`, this.#form);
    if (field.value === String(tokens)) return;
    field.value = String(tokens);
    placeSliders();
    this.remember();
  }

  complain(sentence: string): void {
    $('#wrong').textContent = sentence;
  }

  #params(): Record<string, unknown> {
    return Object.fromEntries(
      this.#fields.flatMap((field) => {
        const value = said(field);
        return value === undefined ? [] : [[field.name, value]];
      }),
    );
  }

  #reset(): void {
    for (const field of this.#plain) field.value = firstOf(field);
    this.#put(this.#data.sample.params);
    for (const field of this.#shown) show(field, undefined);
    const [opening] = this.#data.presets;
    this.#note(opening?.note, $$('[data-try]', this.#form)[0]);
    this.#fix();
  }

  #put(params: FormData['sample']['params']): void {
    for (const field of this.#fields) put(field, params[field.name]);
  }

  /** The sample with what a preset has of its own. */
  #try({ params, extents = {}, note, view }: Preset, button: HTMLElement): void {
    for (const { letter, name } of this.#data.fields)
      $<HTMLInputElement>(`#${name}`, this.#form).value = String(extents[letter] ?? this.#data.sample.extents[letter]);
    this.#put(params);
    const picture = this.#shown.find(({ name }) => name === 'picture');
    if (picture) picture.value = view ?? firstOf(picture);
    this.#fix();
    this.#note(note, button);
    this.remember();
  }

  /** What there is to see of a preset, until something else is chosen. */
  #note(note = '', pressed?: HTMLElement): void {
    for (const button of $$('[data-try]', this.#form)) button.setAttribute('aria-pressed', String(button === pressed));
    const place = this.#form.querySelector('[data-note]');
    if (place) place.textContent = note;
  }

  /** Real numbers have heads of their own. */
  #fix(): void {
    const numbers = this.#plain.find(({ name }) => name === 'numbers')?.value;
    const real = isReal(numbers) ? REAL_NUMBERS[numbers] : undefined;
    for (const { letter, name } of this.#data.fields.filter(isOfHeads)) {
      const field = $<HTMLInputElement>(`#${name}`, this.#form);
      field.disabled = real !== undefined;
      if (real) field.value = String(real[letter]);
    }
    placeSliders();
  }

  /** Only what differs from how the page begins. */
  #remember(): void {
    clearTimeout(this.#due);
    this.#due = undefined;
    const state = new URLSearchParams();
    for (const field of this.#plain) if (field.value !== firstOf(field)) state.set(field.name, field.value);
    for (const field of this.#fields) {
      const text = JSON.stringify(said(field)) ?? '';
      if (text !== (JSON.stringify(this.#data.sample.params[field.name]) ?? '')) state.set(field.name, text);
    }
    for (const [name, fields] of Map.groupBy(this.#shown, ({ name }) => name)) {
      if (!fields.some(isChanged)) continue;
      const values = fields.flatMap((field) =>
        isTick(field) && !(field as HTMLInputElement).checked ? [] : [field.value],
      );
      for (const value of values.length > 0 ? values : ['']) state.append(name, value);
    }
    keepInAddress(state);
  }

  #restore(address?: string): void {
    const state = stateOfAddress(address);
    if (!state) return;
    this.#reset();
    for (const field of this.#shown) show(field, state.has(field.name) ? state.getAll(field.name) : undefined);
    for (const [name, text] of state) {
      const field = this.#fields.find((each) => each.name === name);
      const plain = this.#plain.find((each) => each.name === name);
      if (field) put(field, parsed(text));
      else if (plain) plain.value = text;
      if (field || plain) this.#note();
      if (plain instanceof HTMLSelectElement && plain.selectedIndex < 0) plain.value = firstOf(plain);
    }
    this.#fix();
  }
}

const isOfHeads = (field: ExtentField): field is ExtentField & { readonly letter: 'h' | 'd' } =>
  ['h', 'd'].includes(field.letter);

const isReal = (numbers: string | undefined): numbers is RealNumbers =>
  numbers !== undefined && Object.hasOwn(REAL_NUMBERS, numbers);

const isTick = (field: Field) => field instanceof HTMLInputElement && ['checkbox', 'radio'].includes(field.type);
/** How the page begins, whatever a browser has kept of it. */
const firstOf = (field: PlainField) =>
  field instanceof HTMLSelectElement ? field.options[0].value : field.defaultValue;

/** Whether a field outside the form differs from its initial value. */
const isChanged = (field: Field) =>
  isTick(field)
    ? (field as HTMLInputElement).checked !== (field as HTMLInputElement).defaultChecked
    : field.value !== firstOf(field);

/** The value in the address for a field outside the form. */
function show(field: Field, values: readonly string[] | undefined): void {
  const box = field as HTMLInputElement;
  if (isTick(field)) box.checked = values ? values.includes(field.value) : box.defaultChecked;
  else field.value = values?.[0] ?? firstOf(field);
  if (!isTick(field) && field.value === '') field.value = firstOf(field);
}

function parsed(text: string): unknown {
  try {
    return text === '' ? undefined : JSON.parse(text);
  } catch {
    return text;
  }
}

/** The value of a param's field; undefined for the default. */
function said(field: Field): unknown {
  if (field instanceof HTMLInputElement && field.type === 'checkbox')
    return JSON.stringify(field.checked) === field.dataset.preset ? undefined : field.checked;
  if (field.value === '') return field instanceof HTMLInputElement && field.validity.badInput ? 'no number' : undefined;
  if (field instanceof HTMLSelectElement)
    return field.dataset.type === 'boolean'
      ? field.value === 'true'
      : field.value === field.dataset.preset
        ? undefined
        : parsed(field.value);
  return parsed(field.value);
}

function put(field: Field, value: unknown): void {
  if (field instanceof HTMLInputElement && field.type === 'checkbox')
    field.checked = typeof value === 'boolean' ? value : field.dataset.preset === 'true';
  else if (field instanceof HTMLSelectElement) {
    field.value = value === undefined ? (field.dataset.preset ?? '') : String(value);
    if (field.selectedIndex < 0) field.selectedIndex = 0;
  } else field.value = value === undefined ? '' : typeof value === 'string' ? value : JSON.stringify(value);
}
