/** The stock rules of ESLint and typescript-eslint; what is generated or built is not looked at. */
import js from "@eslint/js";
import { defineConfig, globalIgnores } from "eslint/config";
import tseslint from "typescript-eslint";

const node = {
    process: "readonly",
    fetch: "readonly",
    setTimeout: "readonly",
    setInterval: "readonly",
    clearTimeout: "readonly",
    clearInterval: "readonly",
    URL: "readonly",
    Buffer: "readonly",
};

export default defineConfig(
    globalIgnores([
        "dist/",
        "node_modules/",
        "examples/*/node_modules/",
        ".playground/",
        "provider/containerd/generated/",
    ]),
    js.configs.recommended,
    tseslint.configs.recommended,
    { languageOptions: { globals: node } },
    {
        files: ["**/*.cjs"],
        languageOptions: { sourceType: "commonjs", globals: { ...node, require: "readonly", module: "writable" } },
        rules: { "@typescript-eslint/no-require-imports": "off" },
    },
);
