import { afterEach, expect, test, vi } from 'vitest';
import { describeMachine, formatMachine } from './machine';

afterEach(() => {
  vi.unstubAllGlobals();
});

test('Node tells its processor, memory, version and the date', async () => {
  const machine = await describeMachine();
  expect(machine.runtime).toBe(`Node ${process.versions.node}`);
  expect(machine.cores).toBeGreaterThanOrEqual(1);
  expect(machine.memoryGiB).toBeGreaterThanOrEqual(1);
  expect(machine.saccade).toMatch(/^\d+\.\d+\.\d+/);
  expect(Math.abs(Date.parse(machine.date) - Date.now())).toBeLessThan(60_000);
});

test('a browser tells its user agent, and memory only where it offers it', async () => {
  // Without Node's version, and still there for the test runner meanwhile.
  vi.stubGlobal('process', Object.create(process, { versions: { value: {} } }));
  vi.stubGlobal('navigator', { hardwareConcurrency: 8, userAgent: 'Browser/1.0', platform: 'Linux x86_64' });
  const machine = await describeMachine();
  expect(machine).toMatchObject({ cpu: 'unknown', cores: 8, runtime: 'Browser/1.0', platform: 'Linux x86_64' });
  expect(machine).not.toHaveProperty('memoryGiB');
});

test('the line holds what is known and leaves out what is not', () => {
  const known = {
    cpu: 'Example 9000',
    cores: 2,
    memoryGiB: 24,
    platform: 'linux x64',
    runtime: 'Node 24.0.0',
    saccade: '1.2.3',
    date: '2026-11-25T12:00:00.000Z',
  };
  expect(formatMachine(known)).toBe('Example 9000, 2 cores, 24 GiB, linux x64, Node 24.0.0, saccade 1.2.3, 2026-11-25');
  const { memoryGiB: _, ...rest } = known;
  expect(formatMachine({ ...rest, cpu: 'unknown', cores: 1 })).toBe(
    '1 core, linux x64, Node 24.0.0, saccade 1.2.3, 2026-11-25',
  );
});
