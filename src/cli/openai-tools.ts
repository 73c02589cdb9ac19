/** Calls of tools within answers. */
import { isRecord } from '../check';
import { overlap } from '../models/language-model/pieces';

export interface ToolCall {
  readonly id: string;
  readonly type: 'function';
  readonly function: { readonly name: string; readonly arguments: string };
}

const OPEN = '<tool_call>';
const TAGGED = /<tool_call>([\s\S]*?)(?:<\/tool_call>|$)/g;

/**
 * Holds back what is, or may become, a call of one of the tools: JSON with its name and its arguments, in tags as Hermes and Qwen
 * write it, or alone, as Llama and Mistral do.
 */
export class ToolCalls {
  #held = '';
  #isAtStart = true;
  #isCall = false;

  constructor(private readonly names: readonly string[]) {}

  /** What of a further piece of the answer is text. */
  push(piece: string): string {
    this.#held += piece;
    if (this.#isCall || (this.#isAtStart && this.#held.trim() === '')) return '';
    this.#isCall = this.#isAtStart && /^\s*[[{]/.test(this.#held);
    if (this.#isCall) return '';
    const at = this.#held.indexOf(OPEN);
    this.#isCall = at >= 0;
    const text = this.#held.slice(0, this.#isCall ? at : this.#held.length - overlap(this.#held, OPEN));
    this.#held = this.#held.slice(text.length);
    this.#isAtStart = false;
    return text;
  }

  /** The calls, or what was held back, if it is none. */
  end(): { readonly text: string; readonly calls: readonly ToolCall[] } {
    const tagged = [...this.#held.matchAll(TAGGED)].map(([, inner]) => inner as string);
    const calls = (tagged.length > 0 ? tagged : [this.#held]).flatMap((inner) => this.#callsIn(inner));
    return calls.length === 0 || calls.includes(undefined)
      ? { text: this.#held, calls: [] }
      : { text: '', calls: calls as ToolCall[] };
  }

  #callsIn(text: string): (ToolCall | undefined)[] {
    try {
      return [JSON.parse(text)].flat().map((call) => this.#callOf(call));
    } catch {
      return [undefined];
    }
  }

  #callOf(call: unknown): ToolCall | undefined {
    if (!isRecord(call) || !this.names.includes(call.name as string)) return undefined;
    const given = call.arguments ?? call.parameters ?? {};
    if (!isRecord(given)) return undefined;
    // Templates of Mistral take ids of nine letters and digits only.
    const id = crypto.randomUUID().replaceAll('-', '').slice(0, 9);
    return { id, type: 'function', function: { name: call.name as string, arguments: JSON.stringify(given) } };
  }
}
