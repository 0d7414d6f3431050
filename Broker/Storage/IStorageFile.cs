namespace Broker.Storage;

/// <summary>An open file. Reads may run beside one writer.</summary>
public interface IStorageFile : IDisposable
{
    long Length { get; }

    /// <summary>Reads until the span is full or the file ends; returns the bytes read, 0 at the end.</summary>
    int Read(long offset, Span<byte> into);

    void Write(long offset, ReadOnlySpan<byte> bytes);

    /// <summary>Writes the parts one after another, gathered into as few system calls as possible.</summary>
    void Write(long offset, IReadOnlyList<ReadOnlyMemory<byte>> parts);

    /// <summary>Extends the file to this length; the new bytes read as zero and their space is reserved.</summary>
    void Allocate(long lengthBytes);

    /// <summary>Makes the file's bytes and length durable.</summary>
    void Sync();
}
