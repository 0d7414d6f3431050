using Broker.Domain;

namespace Broker.Storage;

/// <summary>A file at rest of a group: its kind, and the index that is its name.</summary>
public readonly record struct ScrubItem(ScrubKind Kind, LogIndex First);
