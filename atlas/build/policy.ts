/** The content security policy of pages: they run the site's own scripts and kernels, and fetch nothing from elsewhere. */
import { createHash } from 'node:crypto';

/** The one script within pages: their theme, before anything is shown. */
export const THEME_SCRIPT =
  "try { const theme = localStorage.getItem('theme'); if (theme) document.documentElement.dataset.theme = theme } catch {}";

const hash = createHash('sha256').update(THEME_SCRIPT).digest('base64');

export const POLICY = [
  "default-src 'self'",
  `script-src 'self' 'wasm-unsafe-eval' 'sha256-${hash}'`,
  // Formulas and plots are placed by styles of their own.
  "style-src 'self' 'unsafe-inline'",
  // Icon and small pictures lie within the page, fonts of formulas in its style.
  "img-src 'self' data:",
  "font-src 'self' data:",
  // Threads of the library.
  "worker-src 'self' blob:",
  "object-src 'none'",
  "base-uri 'none'",
  "form-action 'none'",
].join('; ');
