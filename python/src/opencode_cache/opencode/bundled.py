"""Provider SDKs that are compiled into OpenCode: nobody has to cache them.

Upstream (anomalyco/opencode `packages/opencode/src/provider/provider.ts`, the table of loaders; read in and
tried on 1.18.33). The npm field is compared as it is: `@ai-sdk/openai@latest` is not in the table. Where the
binary is at hand, `opencode/ask.py` asks it instead.
"""

from __future__ import annotations

NAMES = frozenset(
    [
        "@ai-sdk/alibaba",
        "@ai-sdk/amazon-bedrock",
        "@ai-sdk/amazon-bedrock/mantle",
        "@ai-sdk/anthropic",
        "@ai-sdk/azure",
        "@ai-sdk/cerebras",
        "@ai-sdk/cohere",
        "@ai-sdk/deepinfra",
        "@ai-sdk/gateway",
        "@ai-sdk/github-copilot",
        "@ai-sdk/google",
        "@ai-sdk/google-vertex",
        "@ai-sdk/google-vertex/anthropic",
        "@ai-sdk/groq",
        "@ai-sdk/mistral",
        "@ai-sdk/openai",
        "@ai-sdk/openai-compatible",
        "@ai-sdk/perplexity",
        "@ai-sdk/togetherai",
        "@ai-sdk/vercel",
        "@ai-sdk/xai",
        "@openrouter/ai-sdk-provider",
        "gitlab-ai-provider",
        "venice-ai-sdk-provider",
    ]
)
