using System.Buffers;
using Broker.Domain;
using Broker.Storage;

namespace Broker.Replication;

/// <summary>
/// What of the log's sealed segments a state machine still wants, as of the moment when it was asked. It only ever
/// becomes less. For one background thread.
/// </summary>
public interface ILogThinning
{
    /// <summary>
    /// Reads on in the log, about so many bytes, where what is wanted is not known without that; asked before all else,
    /// until it answers 0: all is known. Else it answers how many bytes it has read.
    /// </summary>
    /// <param name="segments">Those that may be written anew, in the order of the log.</param>
    /// <param name="readEntries">First entry, last entry, most bytes, into; answers how many entries.</param>
    /// <param name="maxBytes">Bytes to read at a time.</param>
    long Learn(
        IReadOnlyList<SealedSegment> segments,
        Func<LogIndex, LogIndex, int, ICollection<LogEntry>, int> readEntries,
        int maxBytes);

    /// <summary>
    /// Nothing is left to be written anew by what is known. Whether more would be found if it were learnt again, since
    /// segments were written anew.
    /// </summary>
    bool TryLearnAgain();

    /// <summary>
    /// Adds, by the first entry of a segment, how many bytes of it are wanted, or more; a segment of which nothing is
    /// wanted is left out.
    /// </summary>
    void AddKeptBytes(Dictionary<LogIndex, long> bySegment);

    /// <summary>
    /// Begins with a sealed segment whose index file is in use, or with several in a row of which nothing is wanted.
    /// Null: it must stay as it is, since it is not known what of it is wanted.
    /// </summary>
    IEntryThinner? TryBegin(LogIndex first, LogIndex last);

    /// <summary>
    /// Writes the directory of an index file for segments of which nothing is wanted; it has no body.
    /// </summary>
    void WriteGoneIndex(IBufferWriter<byte> directory);
}

/// <summary>Takes out of the entries of one segment what is not wanted any more.</summary>
public interface IEntryThinner
{
    /// <summary>
    /// The same entry, when all of it is wanted; else one that gives the same results and the same state when it is
    /// applied, by itself or in a row with others, thinned or not.
    /// </summary>
    LogEntry Thin(LogEntry entry);
}
