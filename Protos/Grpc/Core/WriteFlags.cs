namespace Grpc.Core;

/// <summary>How a message is written.</summary>
[Flags]
public enum WriteFlags
{
    /// <summary>More messages follow at once: the write need not reach the network yet.</summary>
    BufferHint = 0x1,

    /// <summary>Send this message as it is, even on a call that compresses.</summary>
    NoCompress = 0x2,
}
