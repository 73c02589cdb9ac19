/** What a checkpoint holds: tensors by dotted names, and the rest named. */
import { show } from '../../check';
import { ParseError } from '../../errors';
import { quote } from '../../io/bytes';
import { formatShape } from '../../tensor/shape';
import { Dict } from './pickle';
import { PickledTensor } from './tensors';

export interface Contents {
  readonly tensors: ReadonlyMap<string, PickledTensor>;
  /** By dotted names: numbers and short texts as they are, of others what they are. */
  readonly metadata: Readonly<Record<string, unknown>>;
}

/** Keys under which programs save a model's tensors beside other things, the likeliest first. */
const WRAPPERS = ['state_dict', 'model_state_dict', 'model', 'module', 'net', 'network', 'params', 'weights'];
/** What training goes on from: its tensors are not the model's. */
const OF_TRAINING = /^(optimi[sz]ers?|optim|(lr_)?schedulers?|(grad_)?scaler|amp)(_?state(_?dict)?s?)?$/i;
const [MOST_NESTED, MOST_SHOWN, LONGEST_TEXT] = [64, 8, 1000];
/** Characters of all names, and tensors: far beyond any model. */
const [MOST_NAMED, MOST_TENSORS] = [2 ** 23, 2 ** 16];

/** @throws {ParseError} containers within themselves or too deep in others, and names that two tensors have */
export function contentsOf(label: string, value: unknown): Contents {
  return new Collector(label).collect(value);
}

class Collector implements Contents {
  readonly tensors = new Map<string, PickledTensor>();
  readonly metadata: Record<string, unknown> = Object.create(null);
  /** Containers by their names; those that are being visited have none yet. */
  readonly #visited = new Map<unknown, string | undefined>();
  #named = 0;

  constructor(readonly label: string) {}

  collect(value: unknown): Contents {
    if (value instanceof PickledTensor) this.#visit(value, ['tensor']);
    else this.#visit(this.#unwrapped(value), []);
    return this;
  }

  /** The dictionary of a model within those that wrap it; names what is beside it. */
  #unwrapped(value: unknown): unknown {
    let inner = value;
    for (let depth = 0; inner instanceof Dict; depth++) {
      const { entries } = inner;
      const wrapper = WRAPPERS.find((key) => isModel(entries.get(key)));
      if (wrapper === undefined) break;
      if (depth === MOST_NESTED) throw this.#tooDeep();
      for (const [key, other] of entries)
        if (key !== wrapper) this.#describe(typeof key === 'string' ? key : show(key), other);
      inner = entries.get(wrapper);
    }
    return inner;
  }

  #tooDeep(): ParseError {
    return new ParseError(`${this.label}: containers are nested deeper than ${MOST_NESTED}`);
  }

  #visit(value: unknown, path: readonly string[]): void {
    const name = path.join('.');
    this.#named += name.length;
    if (this.#named > MOST_NAMED || this.tensors.size > MOST_TENSORS)
      throw new ParseError(
        `${this.label}: more than ${MOST_TENSORS} tensors, or names of ${MOST_NAMED} characters in all`,
      );
    const children = OF_TRAINING.test(path.at(-1) ?? '') ? undefined : childrenOf(value);
    if (value instanceof PickledTensor) this.#take(name, value);
    else if (!children) this.#describe(name, value);
    else if (this.#visited.has(value)) this.#again(name, this.#visited.get(value));
    else {
      if (path.length === MOST_NESTED) throw this.#tooDeep();
      this.#visited.set(value, undefined);
      for (const [key, child] of children) this.#visit(child, [...path, String(key)]);
      this.#visited.set(value, name);
    }
  }

  #take(name: string, tensor: PickledTensor): void {
    if (this.tensors.has(name)) throw new ParseError(`${this.label}: two tensors are named ${quote(name)}`);
    this.tensors.set(name, tensor);
  }

  #again(name: string, first: string | undefined): void {
    if (first === undefined) throw new ParseError(`${this.label}: ${quote(name)} is within itself`);
    this.metadata[name] = `the same as ${quote(first)}`;
  }

  #describe(name: string, value: unknown): void {
    this.metadata[name || 'content'] = described(value);
  }
}

function isModel(value: unknown): boolean {
  return value instanceof Dict && [...value.entries.values()].some(mayHoldTensors);
}

function mayHoldTensors(value: unknown): boolean {
  return value instanceof PickledTensor || value instanceof Dict;
}

/** The parts of a container that may have tensors. */
function childrenOf(value: unknown): Iterable<readonly [key: unknown, child: unknown]> | undefined {
  if (Array.isArray(value)) return value.some(mayHoldTensors) ? value.entries() : undefined;
  if (!(value instanceof Dict) || value.entries.size === 0) return undefined;
  const isName = (key: unknown) => typeof key === 'string' || typeof key === 'number';
  return [...value.entries.keys()].every(isName) ? value.entries : undefined;
}

function described(value: unknown): unknown {
  if (value instanceof PickledTensor) return `a tensor ${value.storage.type} ${formatShape(value.shape)}`;
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (value instanceof Dict) {
    const keys = [...value.entries.keys()].slice(0, MOST_SHOWN).map(show);
    return `a dictionary of ${value.entries.size}: ${keys.join(', ')}${value.entries.size > MOST_SHOWN ? ', ...' : ''}`;
  }
  if (typeof value === 'string' && value.length > LONGEST_TEXT) return `a text of ${value.length} characters`;
  return typeof value === 'object' && value !== null ? show(value) : value;
}
