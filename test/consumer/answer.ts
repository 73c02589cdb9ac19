import { loadDefaultModel } from '../../src/default-model';
import { createRuntime } from '../../src/index';
import type { AnswerFormat } from '../../src/models';

/** What the default model answers in a format, or why it does not. */
export async function answer(format: AnswerFormat): Promise<string> {
  const runtime = await createRuntime({ threads: 1 });
  try {
    const model = await loadDefaultModel({ runtime });
    const { text } = await model.generate('The whale', { format, maxTokens: 40, temperature: 0 }).finish();
    return text;
  } catch (error) {
    return String(error);
  } finally {
    runtime.dispose();
  }
}
