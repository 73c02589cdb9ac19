/** The command line, run within the test. */
import { expect, vi } from 'vitest';
import { main } from '../src/cli/main';

/** Runs the command line and collects what it prints. */
export async function saccade(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const capture = (stream: NodeJS.WriteStream) =>
    vi.spyOn(stream, 'write').mockImplementation((_, ...rest: unknown[]) => {
      (rest.at(-1) as (() => void) | undefined)?.();
      return true;
    });
  const [stdout, stderr] = [capture(process.stdout), capture(process.stderr)];
  try {
    const code = await main(args);
    const text = (spy: typeof stdout) => spy.mock.calls.map(([chunk]) => textOf(chunk)).join('');
    return { code, stdout: text(stdout), stderr: text(stderr) };
  } finally {
    stdout.mockRestore();
    stderr.mockRestore();
  }
}

/** Bytes as a character each. */
function textOf(chunk: string | Uint8Array): string {
  return typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString('latin1');
}

/** Bad input: exit code 2, exactly one line on stderr, nothing on stdout. */
export async function expectRefusal(args: readonly string[], message: string): Promise<void> {
  const { code, stdout, stderr } = await saccade(...args);
  expect(stderr).toContain(message);
  expect(stderr).toMatch(/^saccade: [^\n]+\n$/);
  expect(stdout).toBe('');
  expect(code).toBe(2);
}
