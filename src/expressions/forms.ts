/** Compiled functions, cached by their source, which new closures of the same code share. */
import { BoundedMap } from '../bounded-map';
import { isRecord, pathName } from '../check';
import { Tensor } from '../tensor/tensor';
import type { Captured, Read } from './parse';

/** What differs between calls: captured numbers c0, c1, ... and tensors t0, t1, ... with their names in the function. */
export interface Given {
  readonly numbers: readonly number[];
  readonly tensors: readonly CapturedTensor[];
}

export interface CapturedTensor {
  readonly name: string;
  readonly tensor: Tensor;
}

/** The name of a captured tensor in messages. */
export const messageName = (name: string) => (name.startsWith('[') ? `captured${name}` : `captured.${name}`);

/** The number of functions whose forms are cached. */
const KEPT = 256;
/** The number of forms of one source, which differ in what was captured. */
const MOST_FORMS = 8;

const sources = new WeakMap<object, string>();

export class Forms<Form extends { readonly reads: readonly Read[] }> {
  readonly #bySource = new BoundedMap<string, { forms: Form[] }>(KEPT);

  /** The form of `fn` for what it captured, compiled if it is not cached, and this call's values; `key` separates kinds of calls. */
  of(fn: unknown, key: string | number, captured: Captured, make: () => Form): { readonly form: Form } & Given {
    if (typeof fn !== 'function' || !isRecord(captured)) {
      const form = make();
      return { form, ...(givenOf(form.reads, captured) as Given) };
    }
    const source = sources.get(fn) ?? Function.prototype.toString.call(fn);
    sources.set(fn, source);
    const kept = this.#bySource.get(`${key} ${source}`, () => ({ forms: [] }));
    for (const form of kept.forms) {
      const given = givenOf(form.reads, captured);
      if (given) return { form, ...given };
    }
    const form = make();
    // A form with a copy of an array holds its present elements, so it is not cached.
    if (form.reads.every(({ kind }) => kind !== 'array')) kept.forms = [form, ...kept.forms.slice(0, MOST_FORMS - 1)];
    return { form, ...(givenOf(form.reads, captured) as Given) };
  }
}

/** Undefined if the captured values differ from the compiled ones. */
function givenOf(reads: readonly Read[], captured: Captured): Given | undefined {
  const numbers: number[] = [];
  const tensors: CapturedTensor[] = [];
  for (const { path, kind, value } of reads) {
    let found: unknown = captured;
    for (const name of path) found = Object(found)[name];
    if (kind === 'number') {
      if (typeof found !== 'number') return undefined;
      numbers.push(found);
    } else if (kind === 'tensor') {
      if (!(found instanceof Tensor && found.dtype === value)) return undefined;
      tensors.push({ name: pathName(path), tensor: found });
    } else if (kind === 'value' && !Object.is(found, value)) return undefined;
  }
  return { numbers, tensors };
}
