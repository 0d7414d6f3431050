using System.Globalization;

namespace Aspire.Hosting.Local;

/// <summary>Works out what a resource is given when it starts.</summary>
internal static class ResourceValues
{
    public static async Task<Dictionary<string, string>> EnvironmentOfAsync(
        IResource resource, DistributedApplicationExecutionContext execution, CancellationToken cancellationToken)
    {
        var context = new EnvironmentCallbackContext(execution, resource, cancellationToken: cancellationToken);
        foreach (var annotation in resource.Annotations.OfType<EnvironmentCallbackAnnotation>())
        {
            await annotation.Callback(context);
        }

        var values = new Dictionary<string, string>();
        foreach (var (name, value) in context.EnvironmentVariables)
        {
            values[name] = await TextOfAsync(value, cancellationToken);
        }

        return values;
    }

    public static async Task<List<string>> ArgumentsOfAsync(IResource resource, CancellationToken cancellationToken)
    {
        var context = new CommandLineArgsCallbackContext([], resource, cancellationToken);
        foreach (var annotation in resource.Annotations.OfType<CommandLineArgsCallbackAnnotation>())
        {
            await annotation.Callback(context);
        }

        var values = new List<string>(context.Args.Count);
        foreach (var value in context.Args)
        {
            values.Add(await TextOfAsync(value, cancellationToken));
        }

        return values;
    }

    private static async ValueTask<string> TextOfAsync(object value, CancellationToken cancellationToken) =>
        value switch
        {
            string text => text,
            IValueProvider provider => await provider.GetValueAsync(cancellationToken) ?? "",
            _ => Convert.ToString(value, CultureInfo.InvariantCulture) ?? "",
        };
}
