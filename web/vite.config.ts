import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";

import react from "@vitejs/plugin-react";
import { defineConfig, type Plugin } from "vite";

// The server that `npm run dev` shows the pages of, as `larder up` starts it.
const server = process.env.LARDER_URL ?? "http://127.0.0.1:8765";
// Where the server looks for them; the build hook and the tests may say another folder.
const out = process.env.LARDER_PAGES ?? fileURLToPath(new URL("../server/larder_server/pages", import.meta.url));

/** Writes `x.br` and `x.gz` beside each file, so that the server never compresses anything. */
function compressed(): Plugin {
  return {
    name: "compressed",
    apply: "build",
    async closeBundle() {
      const files = (await readdir(out, { recursive: true })).filter((name) => /\.(js|css|html|svg|json)$/.test(name));
      await Promise.all(
        files.map(async (name) => {
          const path = join(out, name);
          const content = await readFile(path);
          if (content.length < 200) return;
          // well, where it is for users; quickly, where somebody works on the pages
          const quality = { [constants.BROTLI_PARAM_QUALITY]: process.env.LARDER_PAGES ? 4 : 11, [constants.BROTLI_PARAM_SIZE_HINT]: content.length };
          await writeFile(`${path}.br`, await promisify(brotliCompress)(content, { params: quality }));
          await writeFile(`${path}.gz`, await promisify(gzip)(content, { level: 9 }));
        }),
      );
    },
  };
}

export default defineConfig({
  plugins: [react(), compressed()],
  resolve: { alias: { "@": fileURLToPath(new URL("./src", import.meta.url)) } },
  build: {
    outDir: out,
    emptyOutDir: true,
    manifest: "manifest.json",
    target: ["chrome111", "firefox114", "safari16.4"],
    // the Content-Security-Policy lets nothing in that stands in the page itself
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 700,
    reportCompressedSize: false,
  },
  worker: { format: "es" },
  server: { proxy: Object.fromEntries(["/v1", "/sign-in", "/sign-out", "/api", "/openapi.json", "/healthz"].map((path) => [path, server])) },
});
