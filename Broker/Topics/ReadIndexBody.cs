using Broker.Domain;

namespace Broker.Topics;

/// <summary>
/// Reads bytes of the body of an index file, which the segment's first entry names. Any thread. False: the file is gone
/// or damaged.
/// </summary>
public delegate bool ReadIndexBody(LogIndex segmentFirst, long offset, Span<byte> into);
