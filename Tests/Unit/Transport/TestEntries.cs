using Broker.Domain;
using Broker.Transport;

namespace Broker.Tests.Unit.PeerStreams;

/// <summary>A log in memory: term 1 for the first half of the entries, term 3 for the second.</summary>
internal sealed class TestEntries(int first, int count, int bodyBytes) : IEntrySource
{
    private readonly LogEntry[] _entries =
    [
        .. Enumerable.Range(first, count).Select(index =>
        {
            var body = new byte[bodyBytes];
            new Random(index).NextBytes(body);
            return new LogEntry(
                new LogIndex(index),
                new Term(index - first < count / 2 ? 1 : 3),
                EntryKind.Commands,
                index % 7,
                1_000 + index,
                Crc32C.Compute(body),
                body);
        }),
    ];

    public LogIndex FirstIndex { get; } = new(first);

    public LogIndex CommittedIndex { get; set; } = new(first + count - 1);

    /// <summary>Called before each read.</summary>
    public Action OnRead { get; set; } = static () => { };

    public LogEntry At(LogIndex index) => _entries[index - FirstIndex];

    public Term TermAt(LogIndex index) => At(index).Term;

    public int Read(LogIndex from, LogIndex to, int maxBytes, ICollection<LogEntry> into)
    {
        OnRead();
        var count = 0;
        for (var index = from; index <= to; index = index.Next())
        {
            maxBytes -= At(index).SizeBytes;
            if (count > 0 && maxBytes < 0)
            {
                break;
            }

            into.Add(At(index));
            count++;
        }

        return count;
    }
}
