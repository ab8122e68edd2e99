// zig
