using System.Runtime.InteropServices;

namespace Broker.Storage;

/// <summary>struct iovec of POSIX: a buffer's address and its length.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly struct IoVector(nint address, nint lengthBytes)
{
    public nint Address { get; } = address;

    public nint LengthBytes { get; } = lengthBytes;

    /// <summary>What is left of the buffer after its first bytes.</summary>
    public IoVector Skip(nint bytes) => new(Address + bytes, LengthBytes - bytes);
}
