/** What the script of a method's page knows of the method. */
import type { Method } from '../../src/methods/define';
import type { Page, Preset, Sample } from '../../src/methods/page';
import { baseline, findMethod } from '../../src/methods/registry';
import { isAttention, isSpatial } from '../site/problem';

/** A field for an extent. */
export interface ExtentField {
  readonly letter: string;
  readonly name: string;
  readonly help: string;
  readonly most: number;
}

/** What the form of a method or model needs. */
export interface FormData {
  readonly name: string;
  /** The name of what others are measured against, if this can be. */
  readonly baseline?: string;
  /** Whether tokens of an attention lie on a grid. */
  readonly spatial: boolean;
  readonly fields: readonly ExtentField[];
  readonly sample: Pick<Sample, 'extents' | 'params' | 'head'>;
  readonly presets: readonly Preset[];
}

/** Facts about the method for the page's script. */
export interface PageData extends FormData, Pick<Method, 'inputs'> {
  readonly masked: boolean;
  /** What methods are called, by name: this one and those that may stand beside it. */
  readonly names: Readonly<Record<string, string>>;
  /** Methods to be seen beside it in plots: of its reach, those that are masks of a sequence or grid as it is. */
  readonly rivals: readonly string[];
  /** Whether its output may be a sum of values, each with a weight. */
  readonly weighed: boolean;
  /** The inputs whose numbers are drawn: of an attention q, k, v, and what is projected as q is. */
  readonly given: readonly string[];
  readonly integers: readonly string[];
  /** Inputs that the program draws from 0 to 1. */
  readonly positive: readonly string[];
  /** The first output, and whether it is promised. */
  readonly output: string;
  readonly promised: boolean;
}

/** What the page calls methods by name, and how its picture is read. */
interface Said {
  readonly names?: PageData['names'];
  readonly reading?: string;
}

export function dataOf(
  method: Method,
  { sample, presets, rivals, view }: Page,
  { names = {}, reading = '' }: Said = {},
): PageData {
  const { name, inputs, integers = [], promised = [] } = method;
  const { extents, params, head = 0, positive = [], letters } = sample;
  const isQkv = isAttention(method);
  const [output] = 'out' in method.outputs ? ['out'] : Object.keys(method.outputs);
  return {
    name,
    inputs,
    integers,
    positive,
    ...(isQkv && { baseline: baseline.name }),
    spatial: isQkv && 'rows' in extents,
    masked: method.mask !== undefined && view !== 'outputs',
    weighed: isQkv && 'out' in method.outputs && view !== 'outputs',
    fields: Object.keys(extents).map((letter) => fieldOf(method, letter, letters)),
    sample: { extents, params, head },
    names,
    rivals: rivals.filter((name) => {
      const rival = findMethod(name);
      return rival.mask && isSpatial(rival) === isSpatial(method) && rival !== baseline;
    }),
    presets: [{ name: reading ? 'as in the glyph' : 'as it opens', extents, params, note: reading }, ...presets],
    given: isQkv ? ['q', 'k', 'v', ...queriesOf(method, sample)] : Object.keys(inputs),
    output,
    promised: promised.includes(output),
  };
}

/** The inputs that a layer projects as it does q. */
function queriesOf(method: Method, { extents, params }: Sample): readonly string[] {
  const { h, d } = extents;
  const config = { width: h * d, heads: h, keyHeads: h, d, e: d, layer: 0, layers: 1 };
  return method.layer?.(config, method.parse(params)).queries ?? [];
}

/** What readers call the extents of an attention. */
const EXTENTS: Readonly<Record<string, Omit<ExtentField, 'letter'>>> = {
  n: { name: 'tokens', help: 'length of the sequence', most: 65_536 },
  rows: { name: 'rows', help: 'of tokens', most: 65_536 },
  columns: { name: 'columns', help: 'of tokens', most: 65_536 },
  h: { name: 'heads', help: 'of queries', most: 64 },
  d: { name: 'dimension', help: 'of a head', most: 1024 },
};

/** What letters are the counts of, whatever the method. */
const COUNTED: Readonly<Record<string, string>> = {
  b: 'samples of a batch',
  c: 'channels',
  rows: 'places down the picture',
  columns: 'places across the picture',
};

function fieldOf(method: Method, letter: string, letters: Sample['letters']): ExtentField {
  if (isAttention(method) && EXTENTS[letter]) return { letter, ...EXTENTS[letter] };
  const counted = letters?.[letter] ?? COUNTED[letter];
  if (counted) return { letter, name: letter, help: counted, most: 65_536 };
  const of = Object.entries(method.inputs).filter(([, spec]) => spec.split(' ').includes(letter));
  return { letter, name: letter, help: `extent of ${listed(of.map(([name]) => name))}`, most: 65_536 };
}

/** The first few of many names. */
const listed = (names: readonly string[]) =>
  names.length > 3 ? `${names.slice(0, 2).join(', ')} and ${names.length - 2} more` : names.join(', ');
