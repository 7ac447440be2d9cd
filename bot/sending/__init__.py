"""The only package that makes phones ring: claims due broadcasts, releases each once, and records what came back."""
