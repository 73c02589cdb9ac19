import { expect, test } from 'vitest';
import { expectRefusal } from '../../test/command-line';
import { casesOf, checkJob } from './sweep-cases';

const wordsOf = async (command: string) => (await casesOf(command.split(' '))).map(({ words }) => words.join(' '));

test('a job for each value of each list, each the command that measures it', async () => {
  expect(await wordsOf('bench attention --n 1024,2048 --masks full --heads 2 --only saccade')).toEqual(
    ['1024 --d 64', '1024 --d 128', '2048 --d 64', '2048 --d 128'].map(
      (extents) => `bench attention --n ${extents} --masks full --heads 2 --only saccade`,
    ),
  );
  expect(await wordsOf('bench quality --methods attention,power-attention --tasks copy --seeds 2 --width 4')).toEqual(
    ['attention', 'power-attention'].flatMap((method) =>
      ['', ' --first-seed 2'].map(
        (seed) => `bench quality --methods ${method} --tasks copy --seeds 1${seed} --width 4 --layers 2 --heads 1`,
      ),
    ),
  );
  expect(await wordsOf('bench longca --n 1024,2048 --sparse 0 --masks causal --heads 4:1')).toEqual(
    ['1024', '2048'].map(
      (n) => `bench longca --n ${n} --sparse 0 --masks causal --heads 4:1 --d 128 --only saccade --limit 60`,
    ),
  );
  expect(await wordsOf('reproduce power-attention --quick --threads 1')).toEqual([
    'reproduce power-attention --quick --threads 1',
  ]);
});

test('what a case needs follows from where it computes and whether a page can', async () => {
  const needs = async (command: string) => (await casesOf(command.split(' ')))[0]?.needs;
  expect(await needs('bench attention --n 8')).toBe('page-cpu');
  expect(await needs('bench attention --n 8 --backend webgpu')).toBe('page-webgpu');
  expect(await needs('bench memory --n 8')).toBe('cpu');
  expect(await needs('reproduce power-attention --backend webgpu')).toBe('webgpu');
});

test('threads that were asked for stay, whatever this machine has', async () => {
  const [{ words } = { words: [] }] = await casesOf(['bench', 'scores', '--threads', '57']);
  expect(words.join(' ')).toContain('--threads 57');
  await checkJob({ words, build: '' });
});

test.each([
  ['list', 'a case must be a command of bench or reproduce'],
  ['bench', 'a case must be a command of bench or reproduce'],
  ['bench longca --budget 5', 'a case of a sweep has no --budget'],
  ['bench links', 'a case must be a command of bench or reproduce'],
  ['bench attention --n 0', "'--n <lengths>' argument '0' is invalid"],
  ['bench attention --json x.json', 'a case of a sweep has no --json'],
  ['bench attention --against ../before', 'a case of a sweep has no --against'],
  ['bench attention --peers', 'a sweep measures Saccade alone: leave --peers out'],
  ['bench attention --only jax-js', 'a sweep measures Saccade alone: leave jax-js out'],
  ['bench attention --browser ws://evil.example', 'in a sweep pages are workers'],
  ['bench quality --methods ./evil.mjs', /^method must be one of .*, got '.\/evil.mjs'$/],
  ['bench quality --resume /tmp', 'a case of a sweep has no --resume'],
  ['reproduce nothing', "there is no paper or method 'nothing'"],
])('no case: %s', async (command, message) => {
  await expect(casesOf(command.split(' '))).rejects.toThrow(message);
});

test.each([
  ['several cases', 'bench attention --n 8,16'],
  ['words in another order', 'bench attention --heads 2 --n 8 --d 8 --masks full --only saccade'],
  ['a default that nobody writes', 'bench attention --n 8 --d 8 --masks full --only saccade --repeats 9'],
])('a job must be as submit writes it, not %s', async (_, command) => {
  await expect(checkJob({ words: command.split(' '), build: '' })).rejects.toThrow('the job is not one case');
});

test('bad input at the command line', async () => {
  await expectRefusal(
    ['sweep', 'status', '--server', 'nats://127.0.0.1:1'],
    'no NATS server to work with at nats://127.0.0.1:1',
  );
  await expectRefusal(['sweep', 'status', '--server', 'nats://secret@127.0.0.1:1'], 'at nats://127.0.0.1:1');
  await expectRefusal(['sweep', 'status', '--server', '://'], '--server must be an address such as nats://host:4222');
  await expectRefusal(['sweep', 'submit', '--sweep', 'a.b', 'bench', 'attention'], 'It must be up to 32 letters');
  await expectRefusal(['sweep', 'work', '--has', 'tpu'], 'It must be of cpu, webgpu');
  await expectRefusal(['sweep', 'serve', '--tls-cert', 'x.pem'], '--tls-cert and --tls-key must be given together');
});
