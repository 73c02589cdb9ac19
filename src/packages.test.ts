import { expect, test } from 'vitest';
import { UnsupportedError } from './errors';
import { checkInstalled } from './packages';

test('all packages that are missing are told at once, with one command', () => {
  const needs = { 'no-such-novel': 'the default text', vitest: 'the test', 'no-such-model': 'the sentence model' };
  expect(() => checkInstalled(needs, 'pass --in FILE')).toThrow(UnsupportedError);
  expect(() => checkInstalled(needs, 'pass --in FILE')).toThrow(
    'the default text needs the package no-such-novel, the sentence model needs the package no-such-model, which are not installed: npm install no-such-novel no-such-model, or pass --in FILE',
  );
  expect(() => checkInstalled({ 'no-such-model': 'it' })).toThrow(
    'it needs the package no-such-model, which is not installed: npm install no-such-model',
  );
  checkInstalled({ vitest: 'the test' });
});
