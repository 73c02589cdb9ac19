/// <reference types="vite/client" />
/** The setting of a page's form, for the library. */
import { checkChoice } from '../../../src/check';
import type { Mask, Place } from '../../../src/masks/mask';
import { type Method, problemOfLetters } from '../../../src/methods/define';
import { type Extents, lettersOf } from '../../../src/methods/page';
import { type KeysOf, keysOfMask } from '../../../src/simulate/reach';
import type { RealNumbers } from '../problem';

export interface Setting {
  readonly method: string;
  readonly extents: Extents;
  readonly params: Readonly<Record<string, unknown>>;
  /** Default: normal random numbers. */
  readonly numbers?: RealNumbers;
  /** The text for the encoder; default: a novel. */
  readonly text?: string;
}

const folders = import.meta.glob<Record<string, Method>>('../../../src/methods/*/*/index.ts');
const known = new Map<string, Method>();

/** Makes methods known to `settle` that are there already. */
export function know(methods: readonly Method[]): void {
  for (const method of methods) known.set(method.name, method);
}

/** Loads a method, whose folder has its name, so that a page fetches only those that it shows; nothing for other names. */
export async function loadMethod(name = ''): Promise<Method | undefined> {
  const folder = Object.keys(folders).find((path) => path.endsWith(`/${name}/index.ts`));
  if (folder && !known.has(name)) know(Object.values(await folders[folder]!()).filter((each) => each?.name === name));
  return known.get(name);
}

/** The method of a name, which must have been loaded; a ParameterError says which there are. */
export function knownMethod(name: string): Method {
  const names = Object.keys(folders).map((path) => path.split('/').at(-2));
  checkChoice('method', name, names.sort());
  return known.get(name)!;
}

/** Its method must be known. */
export function settle({ method: name, params, extents }: Setting) {
  const method = known.get(name)!;
  return { method, params: method.parse(params) as never, letters: lettersOf(extents) };
}

/** Throws what is wrong with its params, if anything is. */
export function checkSetting({ setting }: { readonly setting: Setting }): void {
  settle(setting);
}

/** The mask of one head. */
export function maskAt(setting: Setting, head: number): { readonly mask: Mask; readonly place: Place } {
  const { method, params, letters } = settle(setting);
  const problem = problemOfLetters(letters);
  const mask = method.mask?.(params, problem);
  if (!mask) throw new Error(`With these params ${method.name} is no mask.`);
  mask.check?.(problem);
  return { mask, place: { ...problem, batch: 0, head: Math.min(head, problem.h - 1) } };
}

/** The keys that a query sees in each layer, by any head: a random order is drawn anew for each, as models do. */
export function keysByLayer(setting: Setting): { readonly keysOf: KeysOf; readonly changes: boolean } {
  const { seed } = settle(setting).params as { readonly seed?: number };
  const made = new Map<number, KeysOf>();
  const ofLayer = (layer: number) => {
    const drawn = seed === undefined ? setting : { ...setting, params: { ...setting.params, seed: seed + layer } };
    const { mask, place } = maskAt(drawn, 0);
    return keysOfMask(mask, place);
  };
  const changes = seed !== undefined;
  const keysOf: KeysOf = (layer, query) => {
    const at = changes ? layer : 0;
    if (!made.has(at)) made.set(at, ofLayer(at));
    return made.get(at)!(0, query);
  };
  return { keysOf, changes };
}
