/** Sliders beside the fields of numbers, which follow them and move them. */
import { $, $$ } from './page';

const fieldOf = ({ dataset }: HTMLInputElement) => $<HTMLInputElement>(`#${dataset.slider}`);

/** Two digits of a power of two that is no whole number. */
const rounded = (value: number) => (value >= 1 && Number.isInteger(value) ? value : Number(value.toPrecision(2)));

export function startSliders(): void {
  for (const slider of $$<HTMLInputElement>('[data-slider]'))
    slider.addEventListener('input', () => {
      const at = Number(slider.value);
      const field = fieldOf(slider);
      field.value = String(slider.dataset.scale === 'linear' ? at : rounded(2 ** at));
      field.dispatchEvent(new Event('input', { bubbles: true }));
    });
}

/** Where fields say, or where their placeholder says what is used; in the middle of what is automatic. */
export function placeSliders(): void {
  for (const slider of $$<HTMLInputElement>('[data-slider]')) {
    const field = fieldOf(slider);
    const value = Number(field.value || field.placeholder);
    slider.disabled = field.disabled;
    const at = slider.dataset.scale === 'linear' ? value : Math.log2(value);
    if (Number.isFinite(at) && document.activeElement !== slider) slider.value = String(at);
    const [min, max] = [Number(slider.min), Number(slider.max)];
    slider.style.setProperty('--at', `${(100 * (Number(slider.value) - min)) / (max - min)}%`);
    slider.setAttribute('aria-valuetext', field.value || field.placeholder);
  }
}
