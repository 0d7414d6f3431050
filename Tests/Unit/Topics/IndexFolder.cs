using System.Buffers;
using System.Collections.Concurrent;
using Broker.Domain;
using Broker.Topics;
using Xunit;

namespace Broker.Tests.Unit.Topics;

/// <summary>Index files in memory, as a group would keep them.</summary>
internal sealed class IndexFolder
{
    private readonly ConcurrentDictionary<LogIndex, (LogIndex Last, byte[] Directory, byte[] Body)> _files = new();

    public int Reads { get; private set; }

    public int LargestReadBytes { get; private set; }

    /// <summary>Seals a segment: writes its index and has the machine use it.</summary>
    public void Seal(TopicStateMachine machine, long first, long last)
    {
        Write(machine, first, last);
        Use(machine, first);
    }

    public void Write(TopicStateMachine machine, long first, long last)
    {
        var (directory, body) = (new ArrayBufferWriter<byte>(), new ArrayBufferWriter<byte>());
        Assert.True(machine.TryWriteIndex(new LogIndex(first), new LogIndex(last), directory, body));
        _files[new LogIndex(first)] =
            (new LogIndex(last), directory.WrittenSpan.ToArray(), body.WrittenSpan.ToArray());
    }

    public void Use(TopicStateMachine machine, long first)
    {
        var (last, directory, _) = _files[new LogIndex(first)];
        machine.UseIndex(new LogIndex(first), last, directory);
    }

    public byte[] Directory(long first) => _files[new LogIndex(first)].Directory;

    public byte[] Body(long first) => _files[new LogIndex(first)].Body;

    public void Delete(long first) => Assert.True(_files.TryRemove(new LogIndex(first), out _));

    public bool Read(LogIndex first, long offset, Span<byte> into)
    {
        Reads++;
        LargestReadBytes = Math.Max(LargestReadBytes, into.Length);
        if (!_files.TryGetValue(first, out var file))
        {
            return false;
        }

        file.Body.AsSpan((int)offset, into.Length).CopyTo(into);
        return true;
    }
}
