using System.Diagnostics.CodeAnalysis;

namespace Broker.Client;

/// <summary>
/// The rules for topic names: dot-separated tokens such as <c>orders.eu.created</c>, 1 to 255 bytes of UTF-8, without
/// spaces, characters that cannot be seen, <c>*</c> and <c>&gt;</c>. Case matters.
/// </summary>
public static class TopicName
{
    /// <summary>The longest topic name and the longest filter, in bytes of UTF-8.</summary>
    public const int MaxBytes = 255;

    /// <summary>Whether a name is well formed. Reserved names are; see <see cref="ValidateForPublish"/>.</summary>
    /// <param name="name">The name to judge.</param>
    /// <param name="reason">What is wrong with it, as a sentence for the user; null when nothing is.</param>
    public static bool Validate([NotNullWhen(true)] string? name, [NotNullWhen(false)] out string? reason)
    {
        reason = TopicSyntax.FindFault(name, "The topic name", wildcards: false);
        return reason is null;
    }

    /// <summary>
    /// Whether users may publish to a topic of this name: well formed, and not reserved for the broker.
    /// </summary>
    /// <param name="name">The name to judge.</param>
    /// <param name="reason">What is wrong with it, as a sentence for the user; null when nothing is.</param>
    public static bool ValidateForPublish([NotNullWhen(true)] string? name, [NotNullWhen(false)] out string? reason)
    {
        if (!Validate(name, out reason))
        {
            return false;
        }

        if (IsReserved(name))
        {
            reason = $"The topic name '{name}' begins with '$', which is reserved for the broker's own topics.";
            return false;
        }

        return true;
    }

    /// <summary>Whether a name belongs to the broker itself: it begins with <c>$</c>.</summary>
    /// <param name="name">A topic name.</param>
    public static bool IsReserved(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        return name.StartsWith('$');
    }
}
