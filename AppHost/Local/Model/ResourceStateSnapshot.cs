namespace Aspire.Hosting.ApplicationModel;

/// <summary>A state, see <see cref="KnownResourceStates"/>, and how it is shown.</summary>
public sealed record ResourceStateSnapshot(string Text, string? Style)
{
    public static implicit operator ResourceStateSnapshot?(string? s) =>
        s is null ? null : new ResourceStateSnapshot(s, null);
}
